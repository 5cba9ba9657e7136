"""Where counters live. `Store` is the contract; redis, embedded and local implement it alike.

One contract suite (`tests/contract/`) runs against every implementation and against the core model.
"""

from collections.abc import Awaitable, Sequence
from typing import Protocol

from gateway.core.ask import Ask
from gateway.core.limits import Charge, Decision


class StoreDown(Exception):
    """The store gave no usable answer in time. `kind` is one of timeout, connect, busy, script, other."""

    def __init__(self, kind: str, detail: str = "") -> None:
        super().__init__(f"{kind}: {detail}" if detail else kind)
        self.kind = kind
        self.detail = detail


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
        """Decide all its charges together: all are charged, or none is.

        lease  names the slots taken by concurrency limits, for `release`; unique per call
        """

    def peek(self, ask: Ask) -> Awaitable[Decision]:
        """What `admit` would answer now, changing nothing."""

    def release(self, charges: Sequence[Charge], lease: str) -> None:
        """Give back the slots of the concurrency limits among `charges`. Fire and forget; unknown leases are fine."""

    def renew(self, charges: Sequence[Charge], lease: str) -> None:
        """Extend the leases of the concurrency limits among `charges` by their window. Fire and forget."""

    async def reset(self, charge: Charge) -> bool:
        """Forget everything counted for this partition. Returns whether there was anything."""

    async def ping(self) -> float:
        """Round trip in seconds."""
