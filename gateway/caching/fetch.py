"""Asking the upstream, as a call of a route without a cache does it."""

from typing import NamedTuple

from gateway.admit import admit
from gateway.caching.nobody import begun_for
from gateway.call import Call
from gateway.core.problems import Refusal, body_problem
from gateway.modules.cache.copying import Answered
from gateway.refuse import from_upstream_failure
from gateway.upload import Upload
from gateway.upstream.failure import UpstreamFailed
from gateway.wire.body import BodyFailed


class Fetched(NamedTuple):
    """What is to be done for the caller: refuse, or relay; nothing = it has its answer."""

    refusal: Refusal | None = None
    exchange: Answered | None = None
    upload: Upload | None = None


ANSWERED = Fetched()


async def fetch(call: Call, upload: Upload) -> Answered | Refusal:
    """Admit the call and forward it; the refusal if it is not admitted."""
    if not call.ask.empty:
        refusal = await admit(call)
        if refusal is not None:
            return refusal
    return await fetch_admitted(call, upload)


async def fetch_admitted(call: Call, upload: Upload) -> Answered | Refusal:
    """Forward a call that has been charged already."""
    assert call.alike is not None, "who was admitted has been identified"
    try:
        got = await call.alike.forward(call, upload)
        assert got is not None, "who answers in the upstream's place uses no cache"
        return got
    except UpstreamFailed as failure:
        return from_upstream_failure(call, failure)
    except BodyFailed as failure:
        return body_problem(failure.reason)


def cache_status(call: Call, text: bytes) -> tuple[bytes, bytes]:
    """The field `Cache-Status` (RFC 9211)."""
    return b"Cache-Status", call.gateway.settings.name.encode("ascii") + b"; " + text


def tell(call: Call, how: str) -> None:
    """How the call was answered, for its line and for the counters (`docs/cache.md` lists the words)."""
    record = call.record
    record.cache = how = "refresh" if begun_for(call) is not None else how
    record.notes = None  # what is the same for calls like this does not say it
    call.gateway.caches.answers[call.route.name, how] += 1
