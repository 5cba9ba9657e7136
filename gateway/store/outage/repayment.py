"""What a store that is back is told of what was spent without it, so much at a time that decisions go on between."""

import asyncio
from time import monotonic

from gateway.core.ask import Ask
from gateway.core.settlement import Correction
from gateway.store import Store
from gateway.store.outage.fallback import Fallback

AT_ONCE = 100
"""Debts in one command: a script is not to hold the store up for longer than some decisions do."""
MOST_RESTORED = 2_000
"""Partitions that are charged again, at the most."""
PAUSE_S = 0.005
REST_PAUSE_S = 0.02
"""Between such commands: while calls wait for them, and while they do not."""


class Repayment:
    """Pays one worker's debts to its store. Times are `monotonic` seconds."""

    def __init__(self, store: Store, fallback: Fallback) -> None:
        self._store = store
        self._fallback = fallback

    async def pay(self, until_s: float) -> None:
        """While calls wait for it, and no longer than `until_s`. Raises StoreDown."""
        while self._fallback.owing and monotonic() < until_s:
            await self._pay_some()
            await asyncio.sleep(PAUSE_S)

    async def pay_the_rest(self) -> None:
        """All of it, while the store decides calls; then shares are forgotten. Raises StoreDown."""
        while self._fallback.owing:
            await self._pay_some()
            await asyncio.sleep(REST_PAUSE_S)
        for _ in self._fallback.forget():
            await asyncio.sleep(0)

    async def restore(self, until_s: float) -> None:
        """The store begins anew: what it had counted, as far as it is known here, is charged again, no longer than
        `until_s`. Others may have done so before; if they do at the same moment, too much is counted. Raises
        StoreDown."""
        before = self._fallback.known.in_use_before(MOST_RESTORED)
        for first in range(0, len(before), AT_ONCE):
            if monotonic() > until_s:
                break
            some = before[first : first + AT_ONCE]
            now = await asyncio.gather(*(self._store.peek(Ask([charge._replace(cost=1)])) for charge in some))
            lacking = [
                Correction(one, one.cost - (one.limit.quota - decision.verdicts[0].remaining))
                for one, decision in zip(some, now, strict=True)
            ]
            await self._store.pay([one for one in lacking if one.delta > 0])
            await asyncio.sleep(PAUSE_S)

    async def _pay_some(self) -> None:
        """What the store may not have heard stays owed, and is told once more: counted too much, never too little."""
        owed = debts = self._fallback.take_debts(AT_ONCE)
        try:
            unsure = {one.charge.key for one in await self._store.pay(self._fallback.due(debts))}
            owed = [debt for debt in debts if debt.key in unsure]
        finally:
            self._fallback.still_owe(owed)
