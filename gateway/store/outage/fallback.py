"""What each limit does while the store does not answer: its posture, and this worker's share for `local`.

A share is this worker's part of the limit, or, of a partition that it has seen in the store lately, its part of what
was left there. What it spends it owes: `take_debts` says what the store has to be told when it is back.

Breakers and pauses go on in this worker alone.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, cast

from gateway.core.algorithms import State
from gateway.core.ask import Ask
from gateway.core.decision import units
from gateway.core.limits import Algorithm, Charge, Decision, Limit, Mode, Posture, Verdict
from gateway.core.settlement import Correction
from gateway.core.shares import Fleet, begun_with, owed, part, place_of, share
from gateway.core.units import SECOND_US
from gateway.store.local.store import LocalStore, steady_us
from gateway.store.outage.debts import Debts
from gateway.store.outage.known import Known, Seen

NOT_HERE = Verdict(False, 0, SECOND_US, SECOND_US, SECOND_US)
"""This worker's share is smaller than the call costs; when the store is back there may be room at once."""
NOT_ASKED = Verdict(True, 0, 0, 0, 0)
MOST_SHARES = MOST_STAYING = 10_000
MOST_GUARDS = 100_000
"""Beyond it, what they learned stays until it says nothing any more."""
FORGET_AT_ONCE = 1_000


class Begun(NamedTuple):
    """What a share of one partition began from: units left for it, when that was, and when the store had said so."""

    units: int
    since_us: int
    told_us: int


class Spent(NamedTuple):
    """What was taken from shares, and when."""

    charges: Sequence[Charge]
    lease: str
    at_us: int


class Fallback:
    """Decides calls without the store. Spends only this worker's shares, so that the fleet stays within its limits.

    local  where it counts; what breakers and pauses of this worker need is there as well
    fleet  among how many workers limits are shared
    clock  that of `local`
    known  what the store had told before it went
    """

    def __init__(self, local: LocalStore, fleet: Fleet, clock: Callable[[], int] = steady_us) -> None:
        self._local = local
        self._fleet = fleet
        self._clock = clock
        self._shares: dict[tuple[int, int], tuple[Limit, Limit]] = {}  # by identity; holding the limit keeps its id
        self._whole: dict[int, Limit] = {}  # by identity of the share
        self._begun: dict[str, Begun] = {}
        self._guards: set[str] = set()
        self._staying: set[str] = set()  # partitions that the store has failed to decide while it was there
        self.known = Known(clock)
        self._debts = Debts()

    @property
    def fleet(self) -> Fleet:
        """Among how many workers limits are shared, and which one this is."""
        return self._fleet

    @property
    def owing(self) -> int:
        """How many partitions the store has to be told of."""
        return len(self._debts)

    def share_with(self, fleet: Fleet) -> None:
        """Take another share of the limits, as the fleet has changed."""
        if fleet != self._fleet:
            self._fleet = fleet
            self._forget_shares()

    def stay(self, ask: Ask) -> None:
        """The store is there, and does not decide this: what is known here of its limits and guards holds until it has
        expired."""
        if len(self._staying) >= MOST_STAYING:
            self._staying.clear()
        self._staying.update([key for limit, key, _ in ask.charges if limit.on_store_error is Posture.LOCAL])
        self._staying.update([guard.key for guard in ask.guards])

    def forget(self) -> Iterator[None]:
        """The store is back, and knows everything: forget it bit by bit, a bit with each step. But for what stays."""
        self.known.forget()
        self._begun = {}
        self._staying = {key for key in self._staying if self._local.state_of(key) is not None}
        staying, guards, counted = self._staying, self._guards, self._local.keys()
        self._guards = guards & staying
        keys = [key for key in counted if key not in staying]
        for first in range(0, len(keys), FORGET_AT_ONCE):
            yield
            some = keys[first : first + FORGET_AT_ONCE]
            self._local.forget_charges(some)
            self._local.forget_guards(guards.intersection(some))

    def denies(self, charges: Sequence[Charge]) -> bool:
        """Whether an enforced limit wants calls refused while the store is down."""
        return any(c.limit.mode is Mode.ENFORCE and c.limit.on_store_error is Posture.DENY for c in charges)

    async def admit(self, ask: Ask, lease: str) -> tuple[Ask, Decision | None]:
        """Decide guards and `local` limits here, leave the `allow` ones out: (what was asked, the answer or None)."""
        whole = [charge for charge in ask.charges if self._asked(charge)]
        asked = self._shares_of(whole)
        if not asked and not ask.guards:
            return Ask((), breaker=ask.breaker), None
        mine = Ask(asked, ask.guards, breaker=ask.breaker, measures=ask.measures)
        if not _fits(asked):
            verdicts = [NOT_ASKED if charge.cost <= charge.limit.quota else NOT_HERE for charge in asked]
            return mine, Decision(False, tuple(verdicts), 0)
        self.known.note(ask)
        if len(self._guards) < MOST_GUARDS:
            self._guards.update([guard.key for guard in ask.guards])
        for charge in whole:
            self._begin(charge)
        decision = await self._local.admit(mine, lease)
        if decision.admitted:
            self._owe(whole, decision)
        return mine, decision

    async def spend(self, charges: Sequence[Charge], lease: str) -> Spent | None:
        """Take from this worker's shares what will be charged in the store itself; None = there is not so much left."""
        whole = [charge for charge in charges if self._asked(charge)]
        asked = self._shares_of(whole)
        if not _fits(asked):
            return None
        for charge in whole:
            self._begin(charge)
        decision = await self._local.admit(Ask(asked), lease)
        return Spent(asked, lease, decision.now_us) if decision.admitted else None

    def unspend(self, spent: Spent) -> None:
        """Give back what was taken from shares and what the store has not charged either."""
        self._local.release(spent.charges, spent.lease)
        taken = [charge for charge in spent.charges if charge.limit.algorithm is not Algorithm.CONCURRENCY]
        self._local.settle([Correction(one, -units(one.limit, one.cost)) for one in taken], spent.at_us)

    def _shares_of(self, charges: Iterable[Charge]) -> list[Charge]:
        return [Charge(self._share(limit, key), key, cost) for limit, key, cost in charges]

    def _asked(self, charge: Charge) -> bool:
        limit, key, cost = charge
        if limit.on_store_error is not Posture.LOCAL:
            return False
        return limit.mode is Mode.ENFORCE or cost <= self._share(limit, key).quota

    def _begin(self, charge: Charge) -> None:
        """Of a partition that is met for the first time, only what was left in the store can be shared."""
        limit, key, _ = charge
        seen = self.known.of(limit, key)
        if seen is None:
            return
        now_us, mine = self._clock(), self._share(limit, key)
        if self._local.state_of(key) is not None:
            self._begin_with_less(seen, mine, key, now_us)
            return
        left, reset_us = self._part_of(seen, key, now_us), seen.full_us - now_us
        state = begun_with(mine, left, reset_us, now_us)
        if state is not None:
            self._local.begin(key, state, reset_us)
        self._begun[key] = Begun(left, now_us, seen.at_us)

    def _begin_with_less(self, seen: Seen, mine: Limit, key: str, now_us: int) -> None:
        """Workers lose the store one after the other. Who goes last has seen what was spent until then, and tells:
        this one's part of that is taken from a share that began before it heard."""
        begun = self._begun.get(key) or Begun(mine.quota, now_us, 0)
        if seen.at_us <= begun.told_us or seen.full_us <= now_us:
            return
        fewer = begun.units - self._part_of(seen, key, begun.since_us)
        if fewer > 0:
            self._local.settle([Correction(Charge(mine, key, 1), fewer)], 0)
        self._begun[key] = Begun(begun.units - max(0, fewer), begun.since_us, seen.at_us)

    def _part_of(self, seen: Seen, key: str, at_us: int) -> int:
        fleet = self._fleet
        return part(seen.left(at_us) // fleet.gateways, fleet.workers, place_of(key, fleet))

    def _owe(self, whole: Sequence[Charge], decision: Decision) -> None:
        for (limit, key, cost), verdict in zip(whole, decision.verdicts, strict=True):
            if verdict.admitted and limit.algorithm is not Algorithm.CONCURRENCY:
                self._debts.add(limit, key, units(limit, cost))

    # -- when the store is back

    def take_debts(self, most: int) -> list[Charge]:
        """Some of what the store has to be told: each limit and partition, and the units spent of it."""
        return self._debts.take(most)

    def due(self, debts: Iterable[Charge]) -> list[Correction]:
        """The part of these debts that the store has to be charged with: what has not expired meanwhile."""
        now_us = self._clock()
        found = []
        for limit, key, spent in debts:
            state = cast("State | None", self._local.state_of(key))
            units_due = owed(self._share(limit, key), spent, state, now_us)
            if units_due:
                found.append(Correction(Charge(limit, key, 1), units_due))
        return found

    def still_owe(self, debts: Iterable[Charge]) -> None:
        """Owe these again: the store could not be told of them."""
        for limit, key, spent in debts:
            self._debts.add(limit, key, spent)

    def settle(self, corrections: Sequence[Correction], at_us: int) -> None:
        """Put right what was charged here; the charges are those of the question that `admit` gave back."""
        self._local.settle(corrections, at_us)
        for (mine, key, _), delta in corrections:
            whole = self._whole.get(id(mine))
            if whole is not None:
                self._debts.add(whole, key, delta)

    # -- concurrency slots taken here

    def take_slots(self, charges: Sequence[Charge], lease: str) -> None:
        """Count slots here that were taken in the store, as far as the share goes."""
        for limit, key, cost in charges:
            mine = self._share(limit, key)
            if limit.algorithm is Algorithm.CONCURRENCY and cost <= mine.quota:
                self._local.take_slots(Charge(mine, key, cost), lease)

    def whole(self, charges: Sequence[Charge]) -> list[Charge]:
        """The same charges of the whole limits, where some are of shares."""
        return [Charge(self._whole.get(id(limit), limit), key, cost) for limit, key, cost in charges]

    def release(self, charges: Sequence[Charge], lease: str) -> None:
        """Give back concurrency slots taken here."""
        self._local.release(charges, lease)

    def renew(self, charges: Sequence[Charge], lease: str) -> None:
        """Extend concurrency slots taken here."""
        self._local.renew(charges, lease)

    def _share(self, limit: Limit, key: str) -> Limit:
        fleet, place = self._fleet, place_of(key, self._fleet)
        quota = part(limit.quota // fleet.gateways, fleet.workers, place)
        known = self._shares.get((id(limit), quota))
        if known is None:
            if len(self._shares) >= MOST_SHARES:
                self._forget_shares()
            known = self._shares[id(limit), quota] = (limit, share(limit, fleet, place))
            self._whole[id(known[1])] = limit
        return known[1]

    def _forget_shares(self) -> None:
        self._shares.clear()
        self._whole.clear()


def _fits(asked: Iterable[Charge]) -> bool:
    return all(charge.cost <= charge.limit.quota for charge in asked)
