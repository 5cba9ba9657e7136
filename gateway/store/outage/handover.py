"""A store that is back, as callers see it until all workers have told it what they spent meanwhile.

First this worker has to tell: shares go on to decide (`Untold`). Then others may still have to: whoever gets in must
fit into this worker's share, so that nothing of theirs is taken, and is charged in the store, so that nothing is owed
any more (`Told`). So whichever worker is the first to go by the store alone, the store knows everything.

Nothing of this is about keys whose server stayed, which a cluster may have: of them there is nothing to tell.
"""

from collections.abc import Callable, Iterable
from typing import Any

from gateway.core.ask import Ask
from gateway.core.limits import Charge, Decision, Posture
from gateway.store import Store, StoreDown
from gateway.store.outage.fallback import Fallback

NOT_YET = "it is back, and being told what was spent meanwhile"

Stayed = Callable[[str], bool]
"""Whether a key's server was there all the time."""


def shared(charges: Iterable[Charge], stayed: Stayed) -> bool:
    """Whether any of these limits was shared out among workers while there was no store."""
    return any(limit.on_store_error is Posture.LOCAL and not stayed(key) for limit, key, _ in charges)


class Untold:
    """It decides nothing that shares decide."""

    def __init__(self, store: Store, stayed: Stayed) -> None:
        self._store = store
        self._stayed = stayed

    def admit(self, ask: Ask, lease: str) -> Any:
        """See `Store.admit`. Raises StoreDown for what shares decide."""
        if shared(ask.charges, self._stayed):
            raise StoreDown("other", NOT_YET)
        return self._store.admit(ask, lease)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


class Told:
    """It decides what this worker's share has room for.

    held_here  told the lease of each call that has been let in, and so may have slots in the share as well
    """

    def __init__(self, store: Store, fallback: Fallback, stayed: Stayed, held_here: Callable[[str], None]) -> None:
        self._store = store
        self._fallback = fallback
        self._stayed = stayed
        self._held_here = held_here

    def admit(self, ask: Ask, lease: str) -> Any:
        """See `Store.admit`. Raises StoreDown where the share has no room: it will refuse."""
        return self._by_both(ask, lease) if shared(ask.charges, self._stayed) else self._store.admit(ask, lease)

    async def _by_both(self, ask: Ask, lease: str) -> Decision:
        spent = await self._fallback.spend(ask.charges, lease)
        if spent is None:
            raise StoreDown("other", NOT_YET)
        admitted = False
        try:
            decision: Decision = await self._store.admit(ask, lease)
            admitted = decision.admitted
        finally:
            if not admitted:
                self._fallback.unspend(spent)
            elif lease:
                self._held_here(lease)
        return decision

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)
