"""How many keys of each shared breaker are not closed, in the whole fleet: asked of the store now and then.

For metrics, which have no room for keys.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress

from gateway.core.guards import Breaker, Guard, State
from gateway.core.guards.breaker import Circuit
from gateway.lasting import lasting
from gateway.store import Store, StoreDown
from gateway.waiting import end

LOOK_S = 5.0
AT_ONCE = 500
NAMES = {State.OPEN: "open", State.HALF_OPEN: "half_open"}


class Census:
    """`counts` by (breaker, state), as old as `LOOK_S`; older while the store is down."""

    def __init__(self, store: Store, breakers: Mapping[str, Breaker]) -> None:
        self._store = store
        self._breakers: Mapping[str, Breaker] = {}
        self.counts: Mapping[tuple[str, str], int] = {}
        self.use(breakers)
        self._looking: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look, whenever there is anything to look for. Needs the running loop."""
        self._looking = lasting("census of breakers", self._look_on)

    def use(self, breakers: Mapping[str, Breaker]) -> None:
        """Count the keys of these breakers from now on."""
        self._breakers = {name: breaker for name, breaker in breakers.items() if breaker.shared}
        known = self.counts
        self.counts = {key: known.get(key, 0) for key in self._summed(Counter())}

    async def close(self) -> None:
        """Stop. Idempotent."""
        await end(self._looking)
        self._looking = None

    async def look(self) -> None:
        """Count the keys of breakers that are not closed. Raises StoreDown."""
        guards = [guard for key in await self._store.troubled() if (guard := self._guard(key)) is not None]
        found: Counter[tuple[str, State]] = Counter()
        for first in range(0, len(guards), AT_ONCE):
            some = guards[first : first + AT_ONCE]
            _, kept = await self._store.guards(some)
            states = [one.state for one in kept if isinstance(one, Circuit)]
            found.update(zip([guard.rule.name for guard in some], states, strict=True))
        self.counts = self._summed(found)

    async def _look_on(self) -> None:
        while True:
            with suppress(StoreDown):
                if self._breakers:
                    await self.look()
            await asyncio.sleep(LOOK_S)

    def _guard(self, key: str) -> Guard | None:
        """None: the breaker stands in no policy any more."""
        breaker = self._breakers.get(key.split(":", 2)[1])
        return Guard(breaker, key) if breaker is not None else None

    def _summed(self, found: Counter[tuple[str, State]]) -> dict[tuple[str, str], int]:
        """A series for each breaker and state, so that what is well again is told to be 0."""
        return {(name, word): found[name, state] for name in self._breakers for state, word in NAMES.items()}
