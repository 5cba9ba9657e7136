"""What each limit does while the store does not answer: its posture, and this worker's share for `local`."""

from collections.abc import Sequence
from dataclasses import replace

from gateway.core.limits import Algorithm, Charge, Decision, Limit, Mode, Posture
from gateway.store.local import LocalStore


def share(limit: Limit, workers: int) -> Limit:
    """One worker's part of a limit, rounded down but at least one unit: together never more than limit + workers."""
    quota = max(1, limit.quota // workers)
    if limit.algorithm is Algorithm.TOKEN_BUCKET:
        return replace(limit, quota=quota, per_us=limit.per_us * workers)
    return replace(limit, quota=quota)


class Fallback:
    """Decides calls without the store. Spends only this worker's share, so a fleet stays within its limits."""

    def __init__(self, local: LocalStore, workers: int) -> None:
        self._local = local
        self._workers = workers
        self._shares: dict[int, tuple[Limit, Limit]] = {}  # by identity; holding the limit keeps its id

    def denies(self, charges: Sequence[Charge]) -> bool:
        """Whether an enforced limit wants calls refused while the store is down."""
        return any(c.limit.mode is Mode.ENFORCE and c.limit.on_store_error is Posture.DENY for c in charges)

    async def admit(self, charges: Sequence[Charge], lease: str) -> tuple[Sequence[Charge], Decision | None]:
        """Decide the `local` limits here and leave the `allow` ones out: (what was asked, the answer or None)."""
        asked = [
            Charge(self._share(charge.limit), charge.key, charge.cost)
            for charge in charges
            if charge.limit.on_store_error is Posture.LOCAL
        ]
        if not asked:
            return (), None
        return asked, await self._local.admit(asked, lease)

    def release(self, charges: Sequence[Charge], lease: str) -> None:
        """Give back concurrency slots taken here."""
        self._local.release(charges, lease)

    def renew(self, charges: Sequence[Charge], lease: str) -> None:
        """Extend concurrency slots taken here."""
        self._local.renew(charges, lease)

    def _share(self, limit: Limit) -> Limit:
        known = self._shares.get(id(limit))
        if known is None:
            if len(self._shares) > 10_000:
                self._shares.clear()
            known = self._shares[id(limit)] = (limit, share(limit, self._workers))
        return known[1]
