"""What other workers keep, or are about to: asked before the upstream is, by the one call that asks for all."""

from enum import Enum
from typing import TYPE_CHECKING

from gateway.caching.fetch import now_us
from gateway.core.cache.place import Found, Place
from gateway.core.cache.rules import Stored
from gateway.modules.cache.fleet import FleetCache
from gateway.modules.cache.flights import FAILS_S, PASS_S, Flight, Outcome
from gateway.store import StoreDown

if TYPE_CHECKING:
    from gateway.caching.lookup import Lookup

FIRST_GAP_S, MAX_GAP_S = 0.01, 0.2
"""Between two looks at what another worker fetches."""
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
    """Ask for this call only: answers are each caller's own, or others take too long."""


async def turn(lookup: "Lookup", fleet: FleetCache, flight: Flight, until_s: float, *, fresh: bool = False) -> Turn:
    """Look until something can be used, or it is for this call to ask. What is found is put into memory.

    until_s  on the gateway's clock; how long others are waited for
    fresh    whether only a fresh answer is of use
    """
    gateway, gap_s, insist = lookup.call.gateway, FIRST_GAP_S, False
    looks = 0
    token = "" if lookup.only_looks else gateway.new_id()
    lease_ms = lookup.kept.cache.wait_us // 1000
    while True:
        stored, place = lookup.look(), place_of(lookup)
        sent_us = now_us(gateway)
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
            _lend(flight, fleet, place, token)
        if found.fetches != "theirs":
            return _after(found.fetches, flight)
        if gateway.clock() + gap_s > until_s:
            return Turn.ALONE
        await gateway.sleep(gap_s)
        gap_s = min(2 * gap_s, MAX_GAP_S)


def place_of(lookup: "Lookup", vary: tuple[bytes, ...] | None = None, variant: bytes = b"") -> Place:
    """Where the answer to this call is; vary: what it depends on, if that is another thing than is known."""
    route, shelf = lookup.call.route.name, lookup.shelf
    return Place(route, shelf, lookup.key[1], lookup.named) if vary is None else Place(route, shelf, variant, vary)


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


def _lend(flight: Flight, fleet: FleetCache, place: Place, token: str) -> None:
    """Others wait until the flight ends, or the lease does."""

    flight.on_end = lambda outcome: fleet.release(place, token, *_LASTS.get(outcome, ("", 0)))


def keep_for_all(lookup: "Lookup", place: Place, stored: Stored, asked_us: int) -> None:
    """What this worker keeps now, the others may use."""
    fleet = lookup.kept.fleet
    if fleet is not None:
        most = lookup.kept.cache.size_bytes
        at_us = now_us(lookup.call.gateway)
        fleet.put(place, stored, asked_us=asked_us, now_us=at_us, most_bytes=most)
