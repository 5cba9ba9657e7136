"""A store that is back, as callers see it until all workers have told it what they spent meanwhile.

First this worker has to tell: shares go on to decide (`Untold`). Then others may still have to: whoever gets in must
fit into this worker's share, so that nothing of theirs is taken, and is charged in the store, so that nothing is owed
any more (`Told`). So whichever worker is the first to go by the store alone, the store knows everything.
"""

from collections.abc import Iterable
from typing import Any

from gateway.core.ask import Ask
from gateway.core.limits import Charge, Decision, Posture
from gateway.store import Store, StoreDown
from gateway.store.fallback import Fallback

NOT_YET = "it is back, and being told what was spent meanwhile"


def shared(charges: Iterable[Charge]) -> bool:
    """Whether any of these limits is shared out among workers while there is no store."""
    return any(charge.limit.on_store_error is Posture.LOCAL for charge in charges)


class Untold:
    """It decides nothing that shares decide."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def admit(self, ask: Ask, lease: str) -> Any:
        """See `Store.admit`. Raises StoreDown for what shares decide."""
        if shared(ask.charges):
            raise StoreDown("other", NOT_YET)
        return self._store.admit(ask, lease)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


class Told:
    """It decides what this worker's share has room for."""

    def __init__(self, store: Store, fallback: Fallback) -> None:
        self._store = store
        self._fallback = fallback

    def admit(self, ask: Ask, lease: str) -> Any:
        """See `Store.admit`. Raises StoreDown where the share has no room: it will refuse."""
        return self._by_both(ask, lease) if shared(ask.charges) else self._store.admit(ask, lease)

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
        return decision

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)
