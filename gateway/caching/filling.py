"""Asking the upstream for what is not kept, or whether it is still right; and keeping what it says."""

import copy
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from gateway.caching.fetch import ANSWERED, Fetched, cache_status, fetch, fetch_admitted, tell
from gateway.caching.fleet import keep_for_all, place_of
from gateway.caching.nobody import begun_for
from gateway.caching.serve import serve
from gateway.call import Call
from gateway.core.cache.control import request_directives
from gateway.core.cache.key import storable_by, variant
from gateway.core.cache.rules import ERRORS, Stored, Use, instead_of_error, keep, refreshed, storable, use
from gateway.core.cache.validation import still_right, unconditional, validating
from gateway.core.http.framing import Fields
from gateway.core.learning import says_too_many
from gateway.core.problems import STORE_DOWN, UPSTREAM_PROBLEMS, Refusal
from gateway.guarding import judged_by
from gateway.modules.cache.copying import Answered, Passed
from gateway.modules.cache.flights import Flight, Outcome
from gateway.upload import NOTHING_TO_SEND
from gateway.wire.response_head import CHUNKED, CLOSE_DELIMITED, ResponseHead

if TYPE_CHECKING:
    from gateway.caching.lookup import Lookup

_UNREACHABLE = {STORE_DOWN, *UPSTREAM_PROBLEMS.values()}
_KEPT_BACK = ("breaker", "pause")
_ANYBODY = request_directives(())


class Filling:
    """What one call does with the upstream's answer, for itself and for what is kept."""

    def __init__(self, lookup: "Lookup") -> None:
        self._lookup = lookup
        self._call = lookup.call
        self._kept = lookup.kept

    async def ask(self, flight: Flight, stored: Stored | None) -> Fetched:
        """Ask for a whole answer, or whether `stored` is still right. The flight ends with the answer at the latest."""
        fields = self._lookup.fields
        validation = validating(stored, fields) if stored is not None else None
        if validation is not None:
            _ask_with(self._call, validation)
        elif not flight.alone:
            _ask_with(self._call, unconditional(fields))
        asked_us = self._call.gateway.now_us()
        if stored is not None and instead_of_error(stored, self._lookup.wanted, asked_us):
            self._call.route = self._kept.at_once(self._call.route)
        try:
            got = await fetch(self._call, NOTHING_TO_SEND)
            if isinstance(got, Refusal):
                return await self._refused(got, flight, stored)
            if validation is not None and stored is not None and _head(got).status == 304:
                return await self._still_right(got, flight, stored, asked_us)
            if stored is not None and _head(got).means in ERRORS and await self._failed(got, flight, stored):
                return ANSWERED
            return self._pass_on(got, flight, asked_us)
        except BaseException:
            flight.end(Outcome.LEFT)
            raise

    async def _refused(self, refusal: Refusal, flight: Flight, stored: Stored | None) -> Fetched:
        """An old answer may do, where the upstream cannot be asked; not where the caller has used up its limits."""
        unreachable = refusal.source in _KEPT_BACK or refusal.kind in _UNREACHABLE
        flight.end(Outcome.FAILED if unreachable or begun_for(self._call) is not None else Outcome.LEFT)
        if not unreachable or stored is None or not self._may_do(stored):
            return Fetched(refusal)
        await self._instead_of_error(stored, b"; hit")
        return ANSWERED

    async def _failed(self, got: Answered, flight: Flight, stored: Stored) -> bool:
        """Whether an old answer has taken the place of an error. The caller may take its time over it."""
        head, call = _head(got), self._call
        if not self._may_do(stored):
            return False
        got.release()
        flight.end(Outcome.FAILED)
        call.record.upstream_status = head.status
        call.record.judged_status = judged_by(call, head)
        error_class = call.policies.classes.statuses.get(call.record.judged_status)
        call.record.error_class = error_class.name if error_class is not None else ""
        await self._instead_of_error(stored, b"; fwd=%b; fwd-status=%d" % (self._lookup.why, head.status))
        return True

    def _may_do(self, stored: Stored) -> bool:
        return instead_of_error(stored, self._lookup.wanted, self._call.gateway.now_us())

    async def _instead_of_error(self, stored: Stored, how: bytes) -> None:
        await serve(self._call, stored, self._lookup.fields, how + b"; detail=stale-if-error", "error")

    async def _still_right(self, got: Answered, flight: Flight, stored: Stored, asked_us: int) -> Fetched:
        """The upstream says that nothing has changed."""
        call, answer = self._call, _head(got).fields
        call.record.upstream_status = 304
        got.release()
        if not still_right(stored, answer):
            self._kept.memory.drop(self._lookup.shelf)
            return await self._whole(flight, asked_us)
        fresh = refreshed(self._kept.cache, stored, answer, asked_us=asked_us, now_us=call.gateway.now_us())
        if storable(self._kept.cache, self._lookup.asked, fresh.status, fresh.fields):
            self._put(fresh, asked_us, flight, None)
        else:  # from now on it is for each caller alone
            self._call.gateway.caches.forget(self._call.route.upstream, self._lookup.shelf.target, asked_us)
            flight.end(Outcome.ITS_OWN)
        how = b"; fwd=" + self._lookup.why + b"; fwd-status=304; stored"
        await serve(call, fresh, self._lookup.fields, how, "validated")
        return ANSWERED

    async def _whole(self, flight: Flight, asked_us: int) -> Fetched:
        """It has changed once more meanwhile: the call, which is charged, asks again."""
        _ask_with(self._call, unconditional(self._lookup.fields))
        got = await fetch_admitted(self._call, NOTHING_TO_SEND)
        if isinstance(got, Refusal):
            return await self._refused(got, flight, None)
        return self._pass_on(got, flight, asked_us)

    def _pass_on(self, got: Answered, flight: Flight, asked_us: int) -> Fetched:
        """A new answer: copied on its way to the caller, if it may be kept."""
        head, cache, call = _head(got), self._kept.cache, self._call
        tell(call, "miss")
        said = b"fwd=" + self._lookup.why
        named = storable_by(cache, self._lookup.asked, head.status, head.fields) if self._fits(head) else None
        if named is None:
            flight.end(Outcome.FAILED if head.means in ERRORS else Outcome.ITS_OWN)
            passed = got if head.upgrade else Passed(got, cache_status(call, said))
            return Fetched(None, passed, NOTHING_TO_SEND)

        def kept(body: bytes) -> None:
            if learning is not None and says_too_many(learning, head.status, coding, body):
                lost()
                return
            answer = (head.status, head.reason, head.fields, body)
            at_us, tenant, target = call.gateway.now_us(), call.record.tenant, self._lookup.shelf.target
            stored = keep(cache, *answer, asked_us=asked_us, now_us=at_us, tenant=tenant, target=target)
            self._put(stored, asked_us, flight, named)

        learning, coding = call.route.upstream.learning, head.headers.get("Content-Encoding", "")
        lost, ended = partial(flight.end, Outcome.ITS_OWN), partial(flight.end, Outcome.LEFT)
        known = got.whole is not None or head.length != CHUNKED
        status = cache_status(call, said + b"; stored" if known else said)
        return Fetched(None, Passed(got, status, kept, cache.entry_bytes, lost, ended), NOTHING_TO_SEND)

    def _fits(self, head: ResponseHead) -> bool:
        """Nobody can tell whether a body is whole that only ends with its socket."""
        if head.means != head.status or head.upgrade:
            return False
        return head.length != CLOSE_DELIMITED and head.length <= self._kept.cache.entry_bytes

    def _put(self, stored: Stored, asked_us: int, flight: Flight, named: tuple[bytes, ...] | None) -> None:
        """Keep it. Who waits for it can use it only if it is fresh.

        named  what it depends on; None = what those do that are there already
        """
        lookup, memory = self._lookup, self._kept.memory
        vary = memory.vary(lookup.shelf) if named is None else named
        which = variant(self._kept.cache, lookup.asked, vary)
        stored = replace(stored, stamp=self._call.gateway.new_id())
        put = stored.useful_us() > 0 and memory.put(lookup.shelf, vary, which, stored, asked_us)
        if put:
            keep_for_all(lookup, place_of(lookup, vary, which), stored, asked_us)
        fresh = put and use(stored, _ANYBODY, self._call.gateway.now_us()) is Use.FRESH
        flight.end(Outcome.KEPT if fresh else Outcome.ITS_OWN)


def _head(got: Answered) -> ResponseHead:
    assert got.head is not None, "fetched is what has been answered"
    return got.head


def _ask_with(call: Call, fields: Fields) -> None:
    """Make this call send the upstream these fields, and nothing that is remembered of calls like it."""
    if fields == call.request.head.fields:
        return
    request, alike = copy.copy(call.request), copy.copy(call.alike)
    assert alike is not None, "who may be answered has been identified"
    request.head = request.head.saying(fields)
    alike.upstream_fields = b""
    call.request, call.alike = request, alike
