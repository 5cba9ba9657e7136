"""Through the cache, for calls that it concerns; what becomes of the others is as if there was none."""

from gateway.caching.fetch import Fetched, cache_status, fetch, tell
from gateway.caching.lookup import Lookup
from gateway.call import Call
from gateway.core.cache.key import also_changed, reads
from gateway.core.problems import Refusal
from gateway.modules.cache.copying import Passed
from gateway.upload import NOTHING_TO_SEND, Upload

SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})


async def through_cache(call: Call) -> Fetched:
    """Answer from what is kept, or ask the upstream as `handle` would. Refusals and failures are those of a call."""
    route, kept = call.route, call.gateway.caches.of(call.route)
    if kept is None or route.cache is None or call.ask.shelf is None:
        return await past(call, b"bypass")
    rest = call.target.partition("?")[0].removeprefix(route.upstream.base_path)
    if not reads(route.cache, call.request.head, rest):
        return await past(call, b"bypass" if call.record.method in SAFE else b"method")
    lookup = Lookup(call, kept, call.ask.shelf)
    return await lookup.answer() or await past(call, lookup.why)


async def past(call: Call, why: bytes) -> Fetched:
    """The cache has nothing to do with the call, but to forget what the call has made wrong (RFC 9111 §4.4).

    why  as `Cache-Status` says it (RFC 9211 §2.2)
    """
    body, target = call.request.body, call.target
    upload = NOTHING_TO_SEND if body is None else Upload(body, call.request.head.chunked)
    got = await fetch(call, upload)
    if isinstance(got, Refusal):
        return Fetched(got, None, upload)
    head = got.head
    assert head is not None, "fetched is what has been answered"
    if call.record.method not in SAFE and head.status < 400:
        _forget(call, target)
        for other in also_changed(target, _authority(call), head.fields):
            _forget(call, other)
    if call.route.cache is None:
        return Fetched(None, got, upload)
    tell(call, "bypass")
    return Fetched(None, got if head.upgrade else Passed(got, cache_status(call, b"fwd=" + why)), upload)


def _forget(call: Call, target: str) -> None:
    call.gateway.caches.forget(call.route.upstream, target, call.gateway.now_us())


def _authority(call: Call) -> str:
    upstream = call.route.upstream
    return upstream.authority if upstream.rewrite_host else call.record.http_host
