"""One call that may be answered from what is kept, or whose answer may be kept."""

from functools import partial
from typing import NamedTuple

from gateway.caching.fetch import ANSWERED, Fetched
from gateway.caching.filling import Filling
from gateway.caching.fleet import Turn, turn
from gateway.caching.nobody import begun_for, unattended
from gateway.caching.serve import serve
from gateway.call import Call
from gateway.core.cache.control import request_directives, values
from gateway.core.cache.key import Shelf, told, variant
from gateway.core.cache.rules import Stored, Use, instead_of_error, use
from gateway.core.http.fields import lower
from gateway.core.http.framing import Fields
from gateway.core.problems import NOT_CACHED, Refusal
from gateway.core.units import SECOND_US
from gateway.modules.cache.caches import Kept
from gateway.modules.cache.flights import Flight, Outcome

LOCAL_US = SECOND_US
"""For how long a worker uses its own copy without a look at what the fleet keeps."""
NOT_FOR_ALL = (Outcome.ITS_OWN, Outcome.LATE)


class Good(NamedTuple):
    """How a stored answer can be used: what `Cache-Status` and the counters say, and whether it should be validated."""

    status: bytes
    told: str
    refresh: bool = False


class Lookup:
    """Use: `answer`, once.

    why  the upstream is asked, if it is (RFC 9211 §2.2)
    key  what calls that want the same have in common; named: what the answer depends on, as far as is known
    only_looks  whether the call would not fill the cache
    fields, wanted  the caller's, and what it says in them about caches; asked: those that the upstream gets to see
    """

    def __init__(self, call: Call, kept: Kept, owner: str) -> None:
        head, record = call.request.head, call.record
        self.call = call
        self.kept = kept
        self.fields = head.fields
        self.wanted = request_directives(head.fields)
        self.asked = _asked(call)
        self.shelf = Shelf(
            owner, record.scheme, record.http_host.lower(), call.target, told(head.fields) if call.peer_trusted else ()
        )
        self.own_wish = "no-cache" in self.wanted or "max-age" in self.wanted
        self.why = b"uri-miss"
        self._waited = False
        self.named: tuple[bytes, ...] = ()
        self.key = (self.shelf, b"")
        self.only_looks = (
            "only-if-cached" in self.wanted or record.method == "HEAD" or bool(values(self.fields, b"range"))
        )

    async def answer(self) -> Fetched | None:
        """What became of the call; None = the cache cannot do anything for it."""
        begun = begun_for(self.call)
        if begun is not None:
            return await Filling(self).ask(begun, self.look())
        clock = self.call.gateway.clock
        until_s = clock() + self.kept.cache.wait_us / 1e6
        while True:
            stored = self.look()
            if stored is not None and self._recent(stored) and await self._used(stored):
                return ANSWERED
            flight = self.kept.flights.flying(self.key)
            if self.own_wish or (flight is None and self.kept.flights.passes(self.key)):
                return await self._alone(stored)
            if flight is None:
                return await self._lead(until_s)
            left_s = until_s - clock()
            if left_s <= 0 or await flight.wait(left_s) in NOT_FOR_ALL:
                return await self._alone(stored)
            self._waited = True

    def look(self) -> Stored | None:
        """What is kept for this call."""
        self.named = self.kept.memory.vary(self.shelf) or self.named
        self.key = (self.shelf, variant(self.kept.cache, self.asked, self.named))
        stored = self.kept.memory.get(*self.key)
        if self._waited:  # it was asked for what the first look said
            return stored
        if stored is not None:
            self.why = b"request" if self.own_wish else b"stale"
        elif self.named:
            self.why = b"vary-miss"
        return stored

    def _recent(self, stored: Stored) -> bool:
        """Whether no other worker can have heard long ago that it is wrong."""
        fleet = self.kept.fleet
        return fleet is None or not fleet.up or self.call.gateway.now_us() - stored.at_us < LOCAL_US

    async def _used(self, stored: Stored | None) -> bool:
        good = self.good(stored) if stored is not None else None
        if stored is None or good is None:
            return False
        await self._use(stored, good)
        return True

    def good(self, stored: Stored) -> Good | None:
        """How it can be used without asking anybody; None = it cannot."""
        at_us = self.call.gateway.now_us()
        good_for = use(stored, self.wanted, at_us)
        if good_for is Use.FRESH:
            return Good(b"; hit", "hit")
        if good_for is Use.WHILE_REVALIDATED:
            return Good(b"; hit; detail=stale-while-revalidate", "stale", refresh=True)
        if self.kept.flights.fails(self.key) and instead_of_error(stored, self.wanted, at_us):
            return Good(b"; hit; detail=stale-if-error", "error")
        return None

    async def _use(self, stored: Stored, good: Good) -> None:
        """Serve it. What others have just fetched is no hit (RFC 9211 §2.6)."""
        flights, status, told = self.kept.flights, good.status, good.told
        if good.refresh and flights.flying(self.key) is None and not flights.fails(self.key):
            self._refresh()
        if self._waited and told == "hit":
            status, told = b"; fwd=" + self.why + b"; collapsed", "collapsed"
        await serve(self.call, stored, self.fields, status, told)

    def _refresh(self) -> None:
        """Validate in the background."""
        flight = self.kept.flights.begin(self.key)
        if not self.call.gateway.caches.start(partial(self._refreshed, flight)):
            flight.end(Outcome.LEFT)

    async def _refreshed(self, flight: Flight) -> None:
        """Unless another worker does it, or has done it."""
        fleet = self.kept.fleet
        try:
            if fleet is None or not fleet.up or await turn(self, fleet, flight, 0.0, fresh=True) is Turn.ASK:
                await unattended(self.call, flight)
        finally:
            flight.end(Outcome.LEFT)

    async def _lead(self, until_s: float) -> Fetched | None:
        """Ask, for all who want the same: first other workers."""
        flight, fleet = self.kept.flights.begin(self.key), self.kept.fleet
        try:
            if fleet is None or not fleet.up:
                return await self._ask(flight, self.look())
            now = await turn(self, fleet, flight, until_s)
            stored = self.look()
            if now is Turn.USE:
                flight.end(Outcome.KEPT)
                if await self._used(stored):
                    return ANSWERED
            elif now is Turn.ASK:
                return await self._ask(flight, stored)
            flight.end({Turn.ALONE: Outcome.ITS_OWN, Turn.LATE: Outcome.LATE}.get(now, Outcome.LEFT))
            return await self._alone(stored)
        except BaseException:
            flight.end(Outcome.LEFT)
            raise

    async def _alone(self, stored: Stored | None) -> Fetched | None:
        """Ask, whatever others do."""
        return await self._ask(Flight(self.kept.flights, None), stored)

    async def _ask(self, flight: Flight, stored: Stored | None) -> Fetched | None:
        if "only-if-cached" in self.wanted:
            flight.end(Outcome.LEFT)
            return Fetched(Refusal(NOT_CACHED, "What was asked for is not in the cache."))
        if self.only_looks:
            flight.end(Outcome.LEFT)
            return None
        return await Filling(self).ask(flight, stored)


def _asked(call: Call) -> Fields:
    """The fields of the request that the upstream gets to see: what the gateway takes off makes no answer anybody's
    own."""
    drop, credential = call.route.credential_fields, call.ask.credential
    if credential is not None:
        drop = drop | credential.replaces
    return tuple(one for one in call.request.head.fields if lower[one[0]] not in drop)
