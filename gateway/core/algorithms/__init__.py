"""The algorithms: what a limit remembers of one partition, and what follows from it.

Each module holds one kind of state, an immutable value with the methods of `State`. They are the definition of how
limits count; the scripts of `gateway/store/lua` are a second implementation, tested equal to it integer for integer.
"""

from collections.abc import Mapping
from typing import Protocol

from gateway.core.algorithms.concurrency import Leases
from gateway.core.algorithms.fixed_window import Tally
from gateway.core.algorithms.rolling_window import Log
from gateway.core.algorithms.token_bucket import Bucket
from gateway.core.limits import Algorithm, Limit

__all__ = ["Bucket", "Leases", "Log", "State", "Tally", "state_for"]


class State(Protocol):
    """What a limit remembers of one partition. Every method leaves the state as it is.

    `limit` may carry other numbers than those the state was made with: the answers follow the new numbers.
    """

    def settled(self, limit: Limit, now_us: int) -> "State":
        """The state with a backward step of the clock made good; itself when there was none.

        Must be kept even when the call is refused: otherwise the wait would start anew with each call.
        """

    def present(self, limit: Limit, now_us: int) -> tuple[int, int, int]:
        """(remaining, reset_us, more_us), as in `gateway.core.limits.Verdict`, with nothing charged."""

    def retry_us(self, limit: Limit, cost: int, now_us: int) -> int:
        """How long until `cost` units are free, if nobody else charges; 0 = now."""

    def charged(self, limit: Limit, cost: int, now_us: int, lease: str) -> "State":
        """The state after a call that had room took `cost` units."""


_UNUSED: Mapping[Algorithm, State] = {
    Algorithm.ROLLING_WINDOW: Log(),
    Algorithm.TOKEN_BUCKET: Bucket(),
    Algorithm.FIXED_WINDOW: Tally(),
    Algorithm.CONCURRENCY: Leases(),
}


def state_for(limit: Limit, state: State | None) -> State:
    """`state` if the limit can go on from it; else the unused state (none yet, or of another algorithm)."""
    unused = _UNUSED[limit.algorithm]
    return state if state is not None and type(state) is type(unused) else unused
