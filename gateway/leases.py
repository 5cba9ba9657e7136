"""Concurrency slots of calls in flight: kept alive while the call lasts, given back at its end.

A slot expires by itself when nobody renews it, so a gateway that dies leaks nothing. One timer serves all calls.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from gateway.core.ask import Ask
from gateway.core.limits import Algorithm, Charge, Limit

if TYPE_CHECKING:
    from gateway.call import Call
    from gateway.store import Store

TICK_S = 1.0
"""Between two looks at what has to be renewed, or less where leases are short."""
RENEW_AT = 3  # parts of a lease after which it is renewed
AT_ONCE = 100
LATELY_S = 5.0
"""What was given back so shortly before the store went is given back again: it may have got lost with the connection,
or with a primary before its replica heard of it."""
MOST_SAID = 10_000
"""Beyond it, slots come back by themselves when their leases lapse."""


class Leases:
    """Calls that hold slots. `hold` when admitted, `give_back` when over.

    While the store is away, slots held in it go on to be counted here (`store_left`). When it is there again it is told
    once more what was given back lately and meanwhile, which changes nothing where it knew, and slots taken here are
    taken there (`store_returned`).
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._due: dict[Call, float] = {}
        self._both: set[Call] = set()
        self._here_too: set[str] = set()
        self._away = False
        self._said: deque[tuple[float, Sequence[Charge], str]] = deque(maxlen=MOST_SAID)
        self._sooner_s: dict[Call, float] = {}
        self._given_up: dict[Call, tuple[float, asyncio.TimerHandle]] = {}  # until when they hold slots, though over
        self._tick_s = TICK_S
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._due)

    def hold(self, call: "Call") -> None:
        """Renew this call's slots until they are given back."""
        if call.lease in self._here_too:
            self._here_too.discard(call.lease)
            self._both.add(call)
        after_s = self._renew_after_s(call)
        self._due[call] = self._loop.time() + after_s
        self._look_within(after_s)

    def held_here(self, lease: str) -> None:
        """The call with this lease, which the store lets in and which is about to be held, has slots in this worker's
        share as well."""
        self._here_too.add(lease)

    def use(self, limits: Iterable[Limit]) -> None:
        """These limits are in force from now on. Where one has shorter leases, the slots of calls under way lapse as
        early: they are renewed as often as those."""
        shortest_us = dict(_shortest_leases(limits))
        now_s = self._loop.time()
        for call, due_s in self._due.items():
            lasting_us = min(shortest_us.get(limit.name, limit.window_us) for limit in _limits_on_slots(call))
            after_s = self._sooner_s[call] = min(self._renew_after_s(call), lasting_us / 1e6 / RENEW_AT)
            self._due[call] = min(due_s, now_s + after_s)
            self._look_within(after_s)

    def give_back(self, call: "Call") -> None:
        """The call is over. Also for a call that never heard the answer: it may have been charged. Idempotent."""
        self._due.pop(call, None)
        self._sooner_s.pop(call, None)
        self._given_up.pop(call, None)
        here = call.decided_here
        if call in self._both:
            self._both.discard(call)
            self._release(call, not here)
        self._release(call, here)

    def give_back_after(self, call: "Call", time_s: float) -> None:
        """The call was given up, and its upstream may be at work on it for so long: until then its slots are taken."""
        timer = self._loop.call_later(time_s, lambda: self.give_back(call))
        self._given_up[call] = self._loop.time() + time_s, timer

    def give_up(self, call: "Call") -> None:
        """The store did not answer whether the call is admitted. It may have given slots all the same."""
        self._release(call, here=False)

    def _release(self, call: "Call", here: bool) -> None:
        gateway, charges = call.gateway, call.ask.charges
        if here:
            gateway.fallback.release(charges, call.lease)
            return
        gateway.store.release(charges, call.lease)
        said, now_s = self._said, self._loop.time()
        while said and said[0][0] < now_s - LATELY_S and not self._away:
            said.popleft()
        said.append((now_s, charges, call.lease))

    def store_left(self) -> None:
        """The store is away: the slots that calls hold in it are taken here too, as far as this worker's share goes."""
        self._away = True
        for call in self._due:
            if call not in self._both and not call.decided_here:
                self._both.add(call)
                call.gateway.fallback.take_slots(call.ask.charges, call.lease)

    async def store_returned(self, store: "Store") -> None:
        """The store is back: give back what is over, take what is held as far as there is room. Raises StoreDown."""
        while self._said:
            await self._say_again(store, [self._said.popleft() for _ in range(min(AT_ONCE, len(self._said)))])
        self._away = False
        held = list(self._due)
        for first in range(0, len(held), AT_ONCE):
            await asyncio.gather(*(self._take(store, call) for call in held[first : first + AT_ONCE]))

    async def _say_again(self, store: "Store", some: Sequence[tuple[float, Sequence[Charge], str]]) -> None:
        for _, charges, lease in some:
            store.release(charges, lease)
        try:
            await store.ping()
        except BaseException:
            self._said.extendleft(reversed(some))
            raise

    async def _take(self, store: "Store", call: "Call") -> None:
        if call in self._due:
            self._both.add(call)
            charges = call.gateway.fallback.whole(call.ask.charges)
            slots = [charge for charge in charges if charge.limit.algorithm is Algorithm.CONCURRENCY]
            try:
                await store.admit(Ask(slots), call.lease)
            finally:
                if call not in self._due:  # over meanwhile: a decision of two trips takes slots in its second
                    store.release(slots, call.lease)

    def slots(self) -> Mapping[str, int]:
        """Slots held now, by limit."""
        asks = Counter(call.ask for call in self._due)
        slots: Counter[str] = Counter()
        for ask, count in asks.items():
            for limit, _, cost in ask.charges:
                if limit.algorithm is Algorithm.CONCURRENCY:
                    slots[limit.name] += cost * count
        return slots

    def close(self) -> None:
        """Stop renewing. What upstreams may be at work on still comes back by itself when they are done, or when its
        lease lapses if that is sooner."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for call, (until_s, timer) in self._given_up.items():
            timer.cancel()
            left_us = max(1, int((until_s - self._loop.time()) * 1e6))
            call.gateway.store.renew(_lasting_at_most(left_us, call.ask.charges), call.lease)
        self._given_up.clear()

    def _renew(self) -> None:
        now = self._loop.time()
        try:
            for call, due in self._due.items():
                if due <= now:
                    self._due[call] = now + self._renew_after_s(call)
                    gateway, here = call.gateway, call.decided_here
                    for place in (here, not here) if call in self._both else (here,):
                        (gateway.fallback if place else gateway.store).renew(call.ask.charges, call.lease)
        finally:  # one that fails must not end the leases of all others
            self._timer = self._loop.call_later(self._tick_s, self._renew) if self._due else None

    def _look_within(self, some_s: float) -> None:
        if self._timer is None:
            self._tick_s = min(TICK_S, some_s)
        elif some_s < self._tick_s:
            self._timer.cancel()
            self._tick_s = some_s
        else:
            return
        self._timer = self._loop.call_later(self._tick_s, self._renew)

    def _renew_after_s(self, call: "Call") -> float:
        known_s = self._sooner_s.get(call)
        return known_s or min(limit.window_us for limit in _limits_on_slots(call)) / 1e6 / RENEW_AT


def _limits_on_slots(call: "Call") -> list[Limit]:
    return [charge.limit for charge in call.ask.charges if charge.limit.algorithm is Algorithm.CONCURRENCY]


def _lasting_at_most(time_us: int, charges: Sequence[Charge]) -> list[Charge]:
    """The same, with leases that are no longer than this."""
    return [
        charge._replace(limit=replace(charge.limit, window_us=min(time_us, charge.limit.window_us)))
        for charge in charges
        if charge.limit.algorithm is Algorithm.CONCURRENCY
    ]


def _shortest_leases(limits: Iterable[Limit]) -> Iterator[tuple[str, int]]:
    """By name, for whichever caller they are shortest."""
    for limit in limits:
        for one in (limit, limit.shadow):
            if one is not None and one.algorithm is Algorithm.CONCURRENCY:
                yield one.name, min([one.window_us, *(override.limit.window_us for override in one.overrides)])
