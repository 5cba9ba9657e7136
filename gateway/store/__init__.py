"""Where counters live. `Store` is the contract; redis, cluster, embedded and local implement it alike.

One contract suite (`tests/contract/`) runs against every implementation and against the core model.
"""

from collections.abc import Awaitable, Sequence
from typing import Protocol, Self

from gateway.core.ask import Ask
from gateway.core.decision import Kept
from gateway.core.grant import Grant
from gateway.core.guards import Change, Guard, Report, State
from gateway.core.limits import Charge, Decision
from gateway.core.settlement import Correction


class StoreDown(Exception):
    """The store gave no usable answer in time. `kind` is one of timeout, connect, busy, script, other."""

    nothing_ran = False
    """Whether what was asked was surely not done; else nobody knows."""

    def __init__(self, kind: str, detail: str = "") -> None:
        super().__init__(f"{kind}: {detail}" if detail else kind)
        self.kind = kind
        self.detail = detail

    def again(self) -> Self:
        """The same, to be raised to somebody else."""
        other = type(self).__new__(type(self), *self.args)
        other.__dict__.update(self.__dict__)
        return other


Grants = tuple[tuple[str, Grant], ...]


class Store(Protocol):
    """Decides charges atomically on the store's own clock.

    Every method that awaits raises StoreDown and nothing else when the store fails.
    """

    kind: str
    """`redis`, `embedded` or `local`: the value of the log field `store`."""

    async def start(self) -> None:
        """Connect. Raises StoreDown when the store cannot be reached; the store keeps trying in the background."""

    async def close(self) -> None:
        """Send what is pending, release what was opened. Idempotent."""

    def admit(self, ask: Ask, lease: str) -> Awaitable[Decision]:
        """Decide all its guards and charges together: a guard holds the call back, or all are charged, or none is.

        lease  names the slots taken by concurrency limits, for `release`; unique per call
        """

    def peek(self, ask: Ask) -> Awaitable[Decision]:
        """What `admit` would answer now, changing nothing."""

    def release(self, charges: Sequence[Charge], lease: str) -> None:
        """Give back the slots of the concurrency limits among `charges`. Fire and forget; unknown leases are fine."""

    def renew(self, charges: Sequence[Charge], lease: str) -> None:
        """Extend the leases of the concurrency limits among `charges` by their window. Fire and forget."""

    def settle(self, corrections: Sequence[Correction], at_us: int) -> None:
        """Put right what one `admit` charged, which answered `now_us` = `at_us`. Fire and forget, once: what is lost
        leaves the charge as it was. See `core.settlement`."""

    async def pay(self, corrections: Sequence[Correction]) -> Sequence[Correction]:
        """`settle` what was charged elsewhere, from now on. Returns those of which nobody knows whether it was done."""

    async def reset(self, charge: Charge) -> bool:
        """Forget everything counted for this partition. Returns whether there was anything. A grant stays."""

    async def grant(self, charge: Charge, grant: Grant | None, for_us: int = 0) -> bool:
        """Give this partition another number for so long, a month at most; None takes it back.

        `grant.until_us` does not matter. Returns whether there was a grant already.
        """

    async def granted(self, charge: Charge) -> tuple[int, Grant | None]:
        """The store's clock, and the grant that this partition is under. Changes nothing."""

    async def grants(self) -> tuple[int, Grants]:
        """The store's clock, and all grants in force with the keys of their partitions, in the order of those."""

    def report(self, reports: Sequence[Report]) -> Awaitable[tuple[Change | None, ...]]:
        """How calls ended that breakers let through, in this order; several may be about one breaker.

        Returns for each what it changed. Of all who report, only the one who causes a transition gets it.
        """

    def pause(self, guard: Guard, for_us: int, left: int = 0) -> Awaitable[tuple[bool, int]]:
        """Let only so many calls through for so long; 0 = none, and the longest of such pauses wins. See
        `core.guards.pause`.

        for_us  at most the rule's bound counts; 0 = nothing is asked any more

        Returns whether a pause began that was not there before, and for how long anything is remembered now.
        """

    async def force(self, guard: Guard, state: State | None, for_us: int) -> Change | None:
        """Hold a breaker open or closed, whatever happens, for so long (a month at most); None gives it back."""

    async def troubled(self) -> tuple[str, ...]:
        """The keys of breakers that are not closed, or held by an operator.

        Some may be well again, or forgotten: `guards` knows.
        """

    async def guards(self, guards: Sequence[Guard]) -> tuple[int, tuple[Kept, ...]]:
        """The store's clock, and what is remembered of these guards. For those who look; changes nothing."""

    async def ping(self) -> float:
        """Round trip in seconds."""
