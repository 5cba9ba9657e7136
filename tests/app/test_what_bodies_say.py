"""Upstreams that say "too many calls" in the body of an answer whose status means something else as well."""

import asyncio
import gzip
import json
import re

import pytest

from gateway.core.learning import LOOKED_AT_BYTES
from gateway.upstream import held
from tests.app.conftest import Start
from tests.app.pausing import Slow, after_one, retry_after
from tests.fakes.upstream import OK, Received, Socket, Upstream, always
from tests.fakes.waiting import turns

POLICIES = """
version: 1
keys:
  connection: {from: header, name: X-Connection-Id, on_missing: skip}
limits:
  connection-1m: {algorithm: rolling_window, limit: 5000, window: 1m, key: [connection]}
  tokens: {algorithm: fixed_window, limit: 1000, window: 365d, key: [connection]}
breakers:
  connection: {key: [connection], consecutive_failures: 1, open_for: 30s}
retries:
  standard: {attempts: 2, backoff: {schedule: [1s]}}
upstreams:
  up:
    url: "%s"
    learn_limits:
      scope: connection
      otherwise: 20s
      also_when:
        - {status: [403, 503], pointer: /error/errors/0/reason, is: [rateLimitExceeded, userRateLimitExceeded]}
        - {status: [200], pointer: /errors/0/type, is: RATE_LIMITED}
routes:
  - {name: plain, match: {path_prefix: /plain/}, upstream: up, limits: [connection-1m], breaker: connection}
  - {name: tried, match: {path_prefix: /tried/}, upstream: up, limits: [connection-1m], retry: standard}
  - name: counted
    match: {path_prefix: /counted/}
    upstream: up
    limits: [tokens]
    cost: {tokens: {from: response_json, pointer: /cost, reserve: 10}}
  - name: cached
    match: {path_prefix: /cached/}
    upstream: up
    modules: {cache: {match: {path: "/**"}, vary_by: [], ttl: 1h}}
"""
LIMITED = json.dumps({"error": {"code": 403, "errors": [{"domain": "usageLimits", "reason": "rateLimitExceeded"}]}})
FORBIDDEN = LIMITED.replace("rateLimitExceeded", "forbidden")
GRAPHQL = json.dumps({"data": None, "errors": [{"type": "RATE_LIMITED", "message": "API rate limit exceeded"}]})
GOOD = json.dumps({"data": {"text": "RATE_LIMITED"}})
JSON = "Content-Type: application/json\r\n"


def answer(status: int, body: str | bytes, fields: str = JSON) -> bytes:
    data = body.encode() if isinstance(body, str) else body
    return b"HTTP/1.1 %d Said\r\n%bContent-Length: %d\r\n\r\n%b" % (status, fields.encode(), len(data), data)


def chunked(status: int, *bodies: bytes, fields: str = JSON) -> bytes:
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(body), body) for body in bodies if body)
    head = b"HTTP/1.1 %d Said\r\n%bTransfer-Encoding: chunked\r\n\r\n" % (status, fields.encode())
    return head + chunks + b"0\r\n\r\n"


def unchunked(body: bytes) -> bytes:
    """What the chunks hold, if it is chunks: they may be cut otherwise on their way."""
    return b"".join(re.findall(rb"(?:\A|(?<=\r\n))[0-9a-f]+\r\n(.*?)(?=\r\n)", body, re.DOTALL)) or body


@pytest.fixture
async def slow(start: Start, upstream: Upstream) -> Slow:
    running = await start(POLICIES % upstream.url)
    await running.gateway.store.close()
    return Slow(running, upstream)


SAYING = {
    "google": answer(403, LIMITED),
    "with a time": answer(503, LIMITED, JSON + "Retry-After: 7\r\n"),
    "graphql": answer(200, GRAPHQL),
    "in chunks": chunked(200, GRAPHQL[:20].encode(), GRAPHQL[20:].encode()),
    "an error in chunks": chunked(403, LIMITED.encode(), fields=""),
    "until the socket ends": b"HTTP/1.1 403 Said\r\n\r\n" + LIMITED.encode(),
    "gzip": chunked(200, gzip.compress(GRAPHQL.encode(), mtime=0), fields=JSON + "Content-Encoding: gzip\r\n"),
}


@pytest.mark.parametrize("how", SAYING)
@pytest.mark.parametrize("piece", [10**6, 97, 1])
async def test_it_is_what_a_429_is(slow: Slow, how: str, piece: int) -> None:
    """However it arrives: it pauses, no breaker counts it, and its caller gets it as it is."""
    said = SAYING[how]
    head, _, body = said.partition(b"\r\n\r\n")

    async def script(_request: Received, socket: Socket) -> bytes | None:
        for start in range(0, len(said), piece):
            await socket.send(said[start : start + piece])
        if b"\r\nContent-Length" in head or b"chunked" in head:
            return b""
        return None

    slow.upstream.script = script
    status, got, record = await slow.call()
    wait_s = 7 if b"Retry-After" in head else 20
    assert status == int(head.split(b" ")[1])
    assert unchunked(got.partition(b"\r\n\r\n")[2]) == unchunked(body)
    assert (record.error_class, record.upstream_status, slow.began) == ("rate_limited", status, [("up", wait_s)])
    assert (record.aborted_by, record.upstream_retry_after_s) == ("", wait_s % 20)
    slow.upstream.script = always(OK)
    status, got, record = await slow.call()
    assert (status, retry_after(got), record.response_source) == (429, wait_s, "pause")
    assert (await slow.call(connection="c2"))[0] == 200


@pytest.mark.parametrize("how", ["google", "with a time", "graphql", "an error in chunks"])
async def test_it_is_tried_again_where_a_429_is(slow: Slow, how: str) -> None:
    slow.upstream.script = after_one(SAYING[how])
    status, _, record = await slow.call("tried")
    assert (status, record.retry_wait_s) == (200, 7 if how == "with a time" else 20)
    assert record.attempts is not None
    assert [one.get("error_class") for one in record.attempts] == ["rate_limited", None]


@pytest.mark.parametrize("how", ["in chunks", "gzip"])
async def test_it_is_tried_again_also_when_its_chunks_come_behind_its_head(slow: Slow, how: str) -> None:
    head, _, body = SAYING[how].partition(b"\r\n\r\n")

    async def script(_request: Received, socket: Socket) -> bytes:
        if len(slow.upstream.received) > 1:
            return OK
        await socket.send(head + b"\r\n\r\n")
        await turns(20)
        await socket.send(body[:9])
        await turns(20)
        return body[9:]

    slow.upstream.script = script
    status, got, record = await slow.call("tried")
    assert (status, b"RATE_LIMITED" in got, record.retry_wait_s) == (200, False, 20)
    assert [one.get("error_class") for one in record.attempts or ()] == ["rate_limited", None]


@pytest.mark.parametrize(
    ("said", "error_class"),
    [
        (answer(403, FORBIDDEN), "auth_error"),
        (answer(403, "rateLimitExceeded"), "auth_error"),
        (answer(404, LIMITED), "client_error"),
        (answer(403, LIMITED, JSON + "Content-Encoding: br\r\n"), "auth_error"),
        (answer(403, LIMITED.ljust(LOOKED_AT_BYTES + 1)), "auth_error"),
        (answer(403, "[" * 10_000 + "rateLimitExceeded"), "auth_error"),
        (answer(200, GOOD), ""),
        (answer(200, GRAPHQL, "Content-Type: text/plain\r\n"), ""),
        (chunked(200, b"data: " + GRAPHQL.encode(), fields="Content-Type: text/event-stream\r\n"), ""),
        (chunked(200, GRAPHQL.encode(), b" " * LOOKED_AT_BYTES), ""),
    ],
)
async def test_anything_else_is_what_it_was(slow: Slow, said: bytes, error_class: str) -> None:
    slow.upstream.script = always(said)
    for route in ("plain", "tried"):
        status, got, record = await slow.call(route)
        assert (status, record.error_class, record.attempts) == (int(said.split(b" ", 2)[1]), error_class, None)
        assert said.partition(b"\r\n\r\n")[2][-100:] in got
    assert (slow.began, len(slow.upstream.received)) == ([], 2)


@pytest.mark.parametrize(
    ("route", "content_type"),
    [("plain", "application/json"), ("plain", "text/event-stream"), ("tried", "application/x-ndjson")],
)
async def test_a_stream_is_passed_on_as_it_comes(slow: Slow, route: str, content_type: str) -> None:
    """Nothing of it is kept back, and what it has said is heeded when it is over."""
    asked, go_on = asyncio.Event(), asyncio.Event()
    first, second = GRAPHQL[:30].encode(), GRAPHQL[30:].encode()
    said = chunked(200, first, second, fields=f"Content-Type: {content_type}\r\n")
    cut = said.index(first) + len(first)

    async def script(_request: Received, socket: Socket) -> bytes:
        await socket.send(said[:cut])
        asked.set()
        await go_on.wait()
        return said[cut:]

    slow.upstream.script = script
    request = b"GET /%b/x HTTP/1.1\r\nHost: gw\r\nX-Connection-Id: c1\r\n\r\n" % route.encode()
    await slow.running.raw(request, until=first)
    go_on.set()
    record = (await slow.running.records.wait(1))[0]
    assert (record.status, record.aborted_by, slow.began) == (200, "client", [])
    _, got, record = await slow.call(route)
    assert (second in got, record.error_class) == (True, "rate_limited" if "json" in content_type else "")


@pytest.mark.parametrize(
    ("route", "said"),
    [
        (b"plain", answer(200, GRAPHQL)),
        (b"plain", answer(403, LIMITED)),
        (b"tried", chunked(200, GRAPHQL[:30].encode(), GRAPHQL[30:].encode())),
    ],
)
async def test_a_short_body_that_does_not_come_is_not_waited_for_long(
    slow: Slow, monkeypatch: pytest.MonkeyPatch, route: bytes, said: bytes
) -> None:
    monkeypatch.setattr(held, "HOLD_S", 0.01)
    asked = asyncio.Event()

    async def script(_request: Received, socket: Socket) -> bytes:
        await socket.send(said[:-10])
        await asked.wait()
        return said[-10:]

    slow.upstream.script = script
    caller, writer = await asyncio.open_connection("127.0.0.1", slow.running.port)
    writer.write(b"GET /%b/x HTTP/1.1\r\nHost: gw\r\nX-Connection-Id: c1\r\nConnection: close\r\n\r\n" % route)
    begun = await caller.readuntil(b"\r\n\r\n") + await caller.read(10)
    asked.set()
    got = begun + await caller.read()
    writer.close()
    assert unchunked(got.partition(b"\r\n\r\n")[2]) == unchunked(said.partition(b"\r\n\r\n")[2])
    assert (await slow.running.records.wait(1))[0].error_class == "rate_limited"
    assert slow.began == [("up", 20)]


@pytest.mark.parametrize("size", [100, LOOKED_AT_BYTES])
@pytest.mark.parametrize("sent", [0, 1, 95])
async def test_an_upstream_that_breaks_off_inside_is_what_it_was(slow: Slow, size: int, sent: int) -> None:
    head, body = answer(403, LIMITED.ljust(size)).split(b"\r\n\r\n")

    async def script(_request: Received, socket: Socket) -> None:
        await socket.send(head + b"\r\n\r\n")
        await turns(20)
        await socket.send(body[:sent])

    slow.upstream.script = script
    status, got, record = await slow.call()
    assert (status, got.partition(b"\r\n\r\n")[2], record.aborted_by) == (403, body[:sent], "upstream")
    assert slow.began == []


async def test_a_caller_who_leaves_while_the_body_is_awaited(slow: Slow) -> None:
    asked = asyncio.Event()

    async def script(_request: Received, socket: Socket) -> None:
        await socket.send(answer(403, LIMITED)[:-5])
        asked.set()
        await socket.reader.read()

    slow.upstream.script = script
    _, writer = await asyncio.open_connection("127.0.0.1", slow.running.port)
    writer.write(b"GET /plain/x HTTP/1.1\r\nHost: gw\r\n\r\n")
    await asked.wait()
    writer.close()
    record = (await slow.running.records.wait(1))[0]
    assert (record.status, record.aborted_by) == (499, "client")
    await slow.upstream.until(lambda: slow.upstream.open_sockets == 0)


async def test_what_it_cost_is_heard_besides(slow: Slow) -> None:
    body = json.dumps({**json.loads(GRAPHQL), "cost": 3}).encode()
    slow.upstream.script = always(chunked(200, body[:9], body[9:]))
    record = (await slow.call("counted"))[2]
    assert (record.costs, record.error_class, slow.began) == ({"tokens": 3}, "rate_limited", [("up", 20)])


@pytest.mark.parametrize("how", ["graphql", "in chunks", "gzip", "slowly"])
async def test_it_is_not_kept_by_a_cache(slow: Slow, how: str) -> None:
    said = SAYING["in chunks" if how == "slowly" else how]

    async def slowly(_request: Received, socket: Socket) -> bytes:
        await socket.send(said[:-20])
        await turns(20)
        return said[-20:]

    slow.upstream.script = slowly if how == "slowly" else always(said)
    for connection in ("c1", "c2"):
        status, got, record = await slow.call("cached", connection)
        assert (status, record.error_class, b"stored" in got) == (200, "rate_limited", False)
    assert len(slow.upstream.received) == 2
    slow.upstream.script = always(answer(200, GOOD))
    assert [(await slow.call("cached", connection))[0] for connection in ("c3", "c4")] == [200, 200]
    assert len(slow.upstream.received) == 3


async def test_a_head_has_no_body_to_look_at(slow: Slow) -> None:
    slow.upstream.script = always(b"HTTP/1.1 403 No\r\nContent-Length: 50\r\n\r\n")
    got = await slow.running.raw(b"HEAD /plain/x HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n\r\n")
    assert got.startswith(b"HTTP/1.1 403 ")
