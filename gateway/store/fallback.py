"""What each limit does while the store does not answer: its posture, and this worker's share for `local`.

Breakers and pauses go on in this worker alone, from nothing.
"""

from collections.abc import Sequence
from dataclasses import replace

from gateway.core.ask import Ask
from gateway.core.limits import Algorithm, Charge, Decision, Limit, Mode, Posture, Verdict
from gateway.core.settlement import Correction
from gateway.store.local import LocalStore

NOT_HERE = Verdict(False, 0, 1_000_000, 1_000_000, 1_000_000)
"""This worker's share is smaller than the call costs; when the store is back there may be room at once."""
NOT_ASKED = Verdict(True, 0, 0, 0, 0)


def share(limit: Limit, workers: int, index: int) -> Limit:
    """Worker `index`'s part of a limit. All workers' parts add up to exactly the limit; a part may be 0."""
    quota = limit.quota // workers + (index < limit.quota % workers)
    if limit.algorithm is Algorithm.TOKEN_BUCKET:
        return replace(limit, quota=quota, per_us=limit.per_us * workers)
    return replace(limit, quota=quota)


class Fallback:
    """Decides calls without the store. Spends only this worker's share, so one gateway stays within its limits.

    Several gateways do not know of each other meanwhile: each has the whole limit to share among its workers.
    """

    def __init__(self, local: LocalStore, workers: int, index: int = 0) -> None:
        self._local = local
        self._workers = workers
        self._index = index
        self._shares: dict[int, tuple[Limit, Limit]] = {}  # by identity; holding the limit keeps its id

    def denies(self, charges: Sequence[Charge]) -> bool:
        """Whether an enforced limit wants calls refused while the store is down."""
        return any(c.limit.mode is Mode.ENFORCE and c.limit.on_store_error is Posture.DENY for c in charges)

    async def admit(self, ask: Ask, lease: str) -> tuple[Ask, Decision | None]:
        """Decide guards and `local` limits here, leave the `allow` ones out: (what was asked, the answer or None)."""
        asked = [
            Charge(self._share(limit), key, cost)
            for limit, key, cost in ask.charges
            if limit.on_store_error is Posture.LOCAL and (limit.mode is Mode.ENFORCE or self._fits(limit, cost))
        ]
        if not asked and not ask.guards:
            return Ask((), breaker=ask.breaker), None
        mine = Ask(asked, ask.guards, breaker=ask.breaker, measures=ask.measures)
        if all(charge.cost <= charge.limit.quota for charge in asked):
            return mine, await self._local.admit(mine, lease)
        verdicts = [NOT_ASKED if charge.cost <= charge.limit.quota else NOT_HERE for charge in asked]
        return mine, Decision(False, tuple(verdicts), 0)

    def release(self, charges: Sequence[Charge], lease: str) -> None:
        """Give back concurrency slots taken here."""
        self._local.release(charges, lease)

    def renew(self, charges: Sequence[Charge], lease: str) -> None:
        """Extend concurrency slots taken here."""
        self._local.renew(charges, lease)

    def settle(self, corrections: Sequence[Correction], at_us: int) -> None:
        """Put right what was charged here; the charges are those of the question that `admit` gave back."""
        self._local.settle(corrections, at_us)

    def _fits(self, limit: Limit, cost: int) -> bool:
        return cost <= self._share(limit).quota

    def _share(self, limit: Limit) -> Limit:
        known = self._shares.get(id(limit))
        if known is None:
            if len(self._shares) > 10_000:
                self._shares.clear()
            known = self._shares[id(limit)] = (limit, share(limit, self._workers, self._index))
        return known[1]
