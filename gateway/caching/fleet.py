"""What other workers keep, or are about to: asked before the upstream is, by the one call that asks for all."""

import asyncio
from enum import Enum
from typing import TYPE_CHECKING

from gateway.core.cache.place import Found, Place
from gateway.core.cache.rules import Stored
from gateway.modules.cache.flights import FAILS_S, PASS_S, Flight, Outcome
from gateway.store import StoreDown
from gateway.store.shared.answers import SharedAnswers

if TYPE_CHECKING:
    from gateway.caching.lookup import Lookup

FIRST_GAP_S, MAX_GAP_S = 0.01, 0.2
"""Between two looks at what another worker fetches."""
LEASE_MS = 1000
"""For how long others wait for a worker that does not say that it is still there."""
MOST_VARIES = 8
"""Times that one call is told that answers depend on something else than it thought."""
_LASTS = {Outcome.ITS_OWN: ("own", int(PASS_S * 1000)), Outcome.FAILED: ("failed", int(FAILS_S * 1000))}


class Turn(Enum):
    """What this worker should do."""

    ASK = "ask"
    """The upstream, for all or because nobody else does."""
    USE = "use"
    """What is in its memory now."""
    ALONE = "alone"
    """Ask for this call only: answers are each caller's own."""
    LATE = "late"
    """The same: others take too long."""


async def turn(lookup: "Lookup", fleet: SharedAnswers, flight: Flight, until_s: float, *, fresh: bool = False) -> Turn:
    """Look until something can be used, or it is for this call to ask. What is found is put into memory.

    until_s  on the gateway's clock; how long others are waited for
    fresh    whether only a fresh answer is of use
    """
    gateway, gap_s, insist = lookup.call.gateway, FIRST_GAP_S, False
    looks = 0
    token = "" if lookup.only_looks else gateway.new_id()
    lease_ms = min(LEASE_MS, lookup.kept.cache.wait_us // 2000 + 1)
    while True:
        stored, place = lookup.look(), place_of(lookup)
        sent_us = gateway.now_us()
        try:
            found = await fleet.find(place, stored, sent_us, token=token, lease_ms=lease_ms, insist=insist)
        except StoreDown:
            return Turn.ASK
        looks += 1
        if found.vary is not None and looks < MOST_VARIES:
            lookup.kept.memory.drop(place.shelf)
            lookup.named = found.vary
            continue
        if _usable(lookup, place, found, sent_us, fresh):
            return Turn.USE
        if token and not found.fetches:
            insist = True
            continue
        if found.fetches == "mine":
            flight.on_end = _Lease(lookup, fleet, place, token, lease_ms).end
        if found.fetches != "theirs":
            return _after(found.fetches, flight)
        left_s = until_s - gateway.clock()
        if left_s <= 0:
            return Turn.LATE
        await gateway.sleep(min(gap_s, left_s))
        gap_s = min(2 * gap_s, MAX_GAP_S)


def place_of(lookup: "Lookup", vary: tuple[bytes, ...] | None = None, variant: bytes = b"") -> Place:
    """Where the answer to this call is; vary: what it depends on, if that is another thing than is known."""
    room, shelf = lookup.kept.room, lookup.shelf
    return Place(room, shelf, lookup.key[1], lookup.named) if vary is None else Place(room, shelf, variant, vary)


def _usable(lookup: "Lookup", place: Place, found: Found, sent_us: int, fresh: bool) -> bool:
    """Take over what was found. Whether the call can use it."""
    memory = lookup.kept.memory
    if found.stored is None:
        memory.drop(place.shelf, place.variant)
        return False
    put = memory.put(place.shelf, place.vary, place.variant, found.stored, sent_us)
    good = lookup.good(found.stored) if put else None
    return good is not None and (good.told == "hit" or not fresh)


def _after(fetches: str, flight: Flight) -> Turn:
    if fetches == "failed":
        flight.failed_elsewhere()
        return Turn.USE
    return Turn.ALONE if fetches == "own" else Turn.ASK


class _Lease:
    """Others wait while it is renewed: until the flight ends or this worker does, and no longer than `wait`."""

    def __init__(self, lookup: "Lookup", fleet: SharedAnswers, place: Place, token: str, lease_ms: int) -> None:
        self._fleet, self._place, self._token, self._lease_ms = fleet, place, token, lease_ms
        self._loop = asyncio.get_running_loop()
        self._last_s = self._loop.time() + lookup.kept.cache.wait_us / 1e6
        self._timer = self._in_time()

    def _in_time(self) -> asyncio.TimerHandle:
        return self._loop.call_later(self._lease_ms / 3000, self._renew)

    def _renew(self) -> None:
        if self._loop.time() < self._last_s:
            self._fleet.renew(self._place, self._token, self._lease_ms)
            self._timer = self._in_time()

    def end(self, outcome: Outcome) -> None:
        """Tell the other workers what became of the flight."""
        self._timer.cancel()
        self._fleet.release(self._place, self._token, *_LASTS.get(outcome, ("", 0)))


def keep_for_all(lookup: "Lookup", place: Place, stored: Stored, asked_us: int) -> None:
    """What this worker keeps now, the others may use."""
    fleet = lookup.kept.fleet
    if fleet is not None:
        most = lookup.kept.cache.size_bytes
        at_us = lookup.call.gateway.now_us()
        fleet.put(place, stored, asked_us=asked_us, now_us=at_us, most_bytes=most)
