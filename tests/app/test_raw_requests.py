"""Requests as raw bytes against the running gateway: forwarded in one unambiguous form, or refused and cut off."""

import re

import pytest

from tests.app.conftest import Running
from tests.app.test_wire_head import BAD_REQUESTS
from tests.fakes.upstream import Upstream
from tests.fakes.waiting import turns

CLOSE = b"Connection: close\r\n"


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


@pytest.mark.parametrize(("head", "status"), BAD_REQUESTS[1:], ids=range(1, len(BAD_REQUESTS)))
async def test_bad_heads_are_answered_and_cut_off(
    gateway: Running, upstream: Upstream, head: bytes, status: int
) -> None:
    """What follows on the socket is never looked at: it may be a smuggled request."""
    answer = await gateway.raw(head + b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
    assert status_of(answer) == status
    assert answer.count(b"Content-Type: application/problem+json") == 1
    assert re.search(rb"\r\nDate: [A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT\r\n", answer)
    assert b"Connection: close" in answer
    assert upstream.received == []
    assert [record.status for record in await gateway.records.wait(1)] == [status]


@pytest.mark.parametrize(
    "partial",
    [
        b"GET / HTTP/1.1\nHost: a\n\n",
        b"GET / HTTP/1.1\r\nHost: a\nX: y\n",
        b"GET / HTTP/1.1\rHost: a",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"\x00\x00\x00",
        b"GET /\r\n",
        b"GET / HTTP/2.0\r\nHost: a\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\r\n",
        b"G\xffT",
        b"SSH-2.0-x\r\n",
        b"\rGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\r\n\rGET",
    ],
)
async def test_what_cannot_become_a_request_is_not_waited_for(gateway: Running, partial: bytes) -> None:
    assert status_of(await gateway.raw(partial)) == (505 if b"2.0" in partial and b"Host" in partial else 400)


@pytest.mark.parametrize("line", [b"Content-Length: +3\r\n", b"Host: b\r\n", b"X : y\r\n", b"X: a\n"])
async def test_a_head_request_that_is_refused_has_no_body(gateway: Running, line: bytes) -> None:
    """RFC 9110 §9.3.2. Its caller would take it for the next answer."""
    answer = await gateway.raw(b"HEAD / HTTP/1.1\r\nHost: a\r\n" + line + b"\r\n")
    assert status_of(answer) == 400
    assert answer.endswith(b"\r\nConnection: close\r\n\r\n")
    assert [record.bytes_out for record in await gateway.records.wait(1)] == [0]


BAD_BODIES = [
    b"5\nhello\r\n0\r\n\r\n",
    b"5\r\nhello0\r\n\r\n",
    b"5\r\nhello\n0\r\n\r\n",
    b"5\r\nhelloX\r\n0\r\n\r\n",
    b"0x5\r\nhello\r\n0\r\n\r\n",
    b"+5\r\nhello\r\n0\r\n\r\n",
    b"-1\r\n\r\n0\r\n\r\n",
    b" 5\r\nhello\r\n0\r\n\r\n",
    b"5 5\r\nhello\r\n0\r\n\r\n",
    b"G\r\nhello\r\n0\r\n\r\n",
    b";\r\nhello\r\n0\r\n\r\n",
    b"\r\n0\r\n\r\n",
    b"fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    b"5;" + b"x" * 3000 + b"\r\nhello\r\n0\r\n\r\n",
    b"5;a\x00\r\nhello\r\n0\r\n\r\n",
    b"5;a\rb\r\nhello\r\n0\r\n\r\n",
    b"5;a\nb\r\nhello\r\n0\r\n\r\n",
    b"0\r\nTrailer\r\n\r\n",
    b"0\r\n: x\r\n\r\n",
    b"0\r\nA : x\r\n\r\n",
    b"0\r\nA: x\x00\r\n\r\n",
    b"0\r\nA: x\n\r\n",
    b"0\r\n" + b"A: b\r\n" * 4000 + b"\r\n",
]


@pytest.mark.parametrize("body", BAD_BODIES, ids=range(len(BAD_BODIES)))
async def test_bad_chunks_are_refused_and_cut_off(gateway: Running, upstream: Upstream, body: bytes) -> None:
    head = b"POST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = await gateway.raw(head + body + b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
    assert status_of(answer) == 400
    assert answer.count(b"HTTP/1.1 ") == 1
    assert upstream.received == []  # it never saw the end of a request


SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.mark.parametrize(
    ("request_bytes", "body"),
    [
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (len(SMUGGLED), SMUGGLED), SMUGGLED),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (len(SMUGGLED), SMUGGLED), SMUGGLED),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"
            % (len(SMUGGLED), SMUGGLED),
            b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED),
        ),
    ],
)
async def test_a_request_inside_a_body_stays_a_body(
    gateway: Running, upstream: Upstream, request_bytes: bytes, body: bytes
) -> None:
    await gateway.raw(request_bytes, until=b"ok")
    assert [request.body for request in upstream.received] == [body]


FORWARDED = [
    ("target", b"GET /%2F//a/../b;c=d+e%zz?x=%20&y HTTP/1.1\r\nHost: a\r\n\r\n", b"GET /%2F//a/../b;c=d+e%zz?x=%20&y "),
    ("empty query", b"GET /x? HTTP/1.1\r\nHost: a\r\n\r\n", b"GET /x? HTTP/1.1\r\n"),
    ("pipe and quotes", b'GET /a|b"<>^`{} HTTP/1.1\r\nHost: a\r\n\r\n', b'GET /a|b"<>^`{} HTTP/1.1\r\n'),
    ("absolute form", b"GET http://a/x?y HTTP/1.1\r\nHost: a\r\n\r\n", b"GET /x?y HTTP/1.1\r\n"),
    ("any method", b"PURGE /x HTTP/1.1\r\nHost: a\r\n\r\n", b"PURGE /x HTTP/1.1\r\n"),
    ("odd method", b"M-SEARCH_! /x HTTP/1.1\r\nHost: a\r\n\r\n", b"M-SEARCH_! /x HTTP/1.1\r\n"),
    ("lower-case method", b"get /x HTTP/1.1\r\nHost: a\r\n\r\n", b"get /x HTTP/1.1\r\n"),
    ("case", b"GET / HTTP/1.1\r\nHost: a\r\nx-MiXeD: v\r\n\r\n", b"\r\nx-MiXeD: v\r\n"),
    ("repeats in order", b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\nY: 2\r\nX: 3\r\n\r\n", b"\r\nX: 1\r\nY: 2\r\nX: 3\r\n"),
    (
        "cookies apart",
        b"GET / HTTP/1.1\r\nHost: a\r\nCookie: a=1\r\nCookie: b=2\r\n\r\n",
        b"Cookie: a=1\r\nCookie: b=2",
    ),
    ("latin-1 value", b"GET / HTTP/1.1\r\nHost: a\r\nX: caf\xe9\r\n\r\n", b"\r\nX: caf\xe9\r\n"),
    ("utf-8 value", "GET / HTTP/1.1\r\nHost: a\r\nX: é\r\n\r\n".encode(), "\r\nX: é\r\n".encode()),
    ("empty value", b"GET / HTTP/1.1\r\nHost: a\r\nX:\r\n\r\n", b"\r\nX: \r\n"),
    ("inner spaces", b"GET / HTTP/1.1\r\nHost: a\r\nX:  a  b\t \r\n\r\n", b"\r\nX: a  b\r\n"),
    ("long value", b"GET / HTTP/1.1\r\nHost: a\r\nX: %b\r\n\r\n" % (b"v" * 20000), b"\r\nX: %b\r\n" % (b"v" * 20000)),
    ("leading empty lines", b"\r\n\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n", b"GET /x HTTP/1.1\r\n"),
    (
        "content-length kept",
        b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 02\r\n\r\nab",
        b"\r\nContent-Length: 02\r\n",
    ),
    ("zero length kept", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", b"\r\nContent-Length: 0\r\n"),
    ("range", b"GET / HTTP/1.1\r\nHost: a\r\nRange: bytes=1-2\r\n\r\n", b"\r\nRange: bytes=1-2\r\n"),
    ("accept-encoding", b"GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: br\r\n\r\n", b"\r\nAccept-Encoding: br\r\n"),
    ("options star", b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", b"OPTIONS * HTTP/1.1\r\n"),
    ("options of no path", b"OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n", b"OPTIONS * HTTP/1.1\r\n"),
    ("one hop less", b"TRACE / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 10\r\n\r\n", b"\r\nMax-Forwards: 9\r\n"),
    (
        "more hops than 9 digits say",
        b"TRACE / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 10000000000\r\n\r\n",
        b": 999999999\r\n",
    ),
    ("hops of other methods", b"GET / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n", b"\r\nMax-Forwards: 0\r\n"),
    ("hops in words", b"OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: x\r\n\r\n", b"\r\nMax-Forwards: x\r\n"),
    ("via appended", b"GET / HTTP/1.1\r\nHost: a\r\nVia: 1.1 x\r\n\r\n", b"\r\nVia: 1.1 x\r\nVia: 1.1 gw-test\r\n"),
    ("via for 1.0", b"GET / HTTP/1.0\r\n\r\n", b"\r\nVia: 1.0 gw-test\r\n"),
    ("te trailers", b"GET / HTTP/1.1\r\nHost: a\r\nConnection: TE\r\nTE: trailers\r\n\r\n", b"\r\nTE: trailers\r\n"),
    ("idempotency key", b"POST / HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k\r\n\r\n", b"\r\nIdempotency-Key: k\r\n"),
]


@pytest.mark.parametrize(("request_bytes", "expected"), [c[1:] for c in FORWARDED], ids=[c[0] for c in FORWARDED])
async def test_forwarded_as_it_came(
    gateway: Running, upstream: Upstream, request_bytes: bytes, expected: bytes
) -> None:
    await gateway.raw(request_bytes, until=b"ok")
    assert len(upstream.received) == 1
    assert expected in upstream.received[0].head


STRIPPED = [
    (b"Connection: close, X-Debug\r\nX-Debug: 1\r\n", "X-Debug"),
    (b"Connection: keep-alive\r\nKeep-Alive: timeout=5\r\n", "Keep-Alive"),
    (b"Proxy-Connection: keep-alive\r\n", "Proxy-Connection"),
    (b"Proxy-Authorization: Basic c2VjcmV0\r\n", "Proxy-Authorization"),
    (b"TE: gzip\r\n", "TE"),
    (b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n", "Upgrade"),
    (b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n", "HTTP2-Settings"),
    (b"Upgrade: websocket\r\n", "Upgrade"),
    (b"Trailer: X-Sum\r\n", "Trailer"),
    (b"X-Forwarded-For: 1.2.3.4\r\n", "X-Forwarded-For"),
    (b"X-Real-IP: 1.2.3.4\r\n", "X-Real-IP"),
    (b"X-Forwarded-Host: evil\r\n", "X-Forwarded-Host"),
    (b"X-Forwarded-Prefix: /evil\r\n", "X-Forwarded-Prefix"),
    (b"X-Forwarded-Tls-Client-Cert: evil\r\n", "X-Forwarded-Tls-Client-Cert"),
    (b"x_forwarded_ssl: on\r\n", "x_forwarded_ssl"),
    (b"Proxy: http://evil\r\n", "Proxy"),
    (b"Transfer_Encoding: chunked\r\n", "Transfer_Encoding"),
    (b"content_length: 5\r\n", "content_length"),
]


@pytest.mark.parametrize(("lines", "name"), STRIPPED)
async def test_what_belongs_to_this_hop_is_removed(
    gateway: Running, upstream: Upstream, lines: bytes, name: str
) -> None:
    await gateway.raw(b"GET / HTTP/1.1\r\nHost: a\r\n" + lines + b"\r\n", until=b"ok")
    assert upstream.received[0].fields(name) == []


@pytest.mark.parametrize(
    "name", ["X-Tenant-Id", "Authorization", "Cookie", "X-Request-Id", "Via", "Host", "Content-Length"]
)
async def test_connection_cannot_remove_who_is_calling(gateway: Running, upstream: Upstream, name: str) -> None:
    value = {"Content-Length": "0"}.get(name, "acme")
    own = b"" if name == "Host" else f"{name}: {value}\r\n".encode()
    await gateway.raw(
        b"GET / HTTP/1.1\r\nHost: acme\r\nConnection: " + name.encode() + b"\r\n" + own + b"\r\n", until=b"ok"
    )
    assert upstream.received[0].fields(name)
    if name == "X-Tenant-Id":
        assert (await gateway.records.wait(1))[0].tenant == "acme"


async def test_forwarded_says_who_called_and_replaces_hearsay(gateway: Running, upstream: Upstream) -> None:
    await gateway.raw(b"GET / HTTP/1.1\r\nHost: api.example\r\nForwarded: for=6.6.6.6\r\n\r\n", until=b"ok")
    assert upstream.received[0].fields("Forwarded") == ["for=127.0.0.1;proto=http;host=api.example;by=_gw-test"]


async def test_the_last_hop_that_is_asked_for_is_this_one(gateway: Running, upstream: Upstream) -> None:
    """Each time: what is remembered of a call that went on says nothing about one that may not."""
    for hops, status in ((b"1", 200), (b"0", 405), (b"1", 200), (b"00", 405)):
        lines = b"OPTIONS /x HTTP/1.1\r\nHost: a\r\nMax-Forwards: %b\r\n%b\r\n" % (hops, CLOSE)
        for _ in range(3):
            assert status_of(await gateway.raw(lines)) == status
    assert [request.fields("Max-Forwards") for request in upstream.received] == [["0"]] * 6


async def test_a_socket_goes_on_behind_a_request_that_is_refused_for_what_it_asks(gateway: Running) -> None:
    """It is known where that ends; a request of which this is not known closes its socket."""
    refused = b"OPTIONS /x HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n"
    answers = await gateway.raw(refused + b"GET /x HTTP/1.1\r\nHost: a\r\n" + CLOSE + b"\r\n")
    assert re.findall(rb"HTTP/1.1 (\d+)", answers) == [b"405", b"200"]


async def test_a_loop_through_ourselves_is_refused(gateway: Running, upstream: Upstream) -> None:
    answer = await gateway.raw(b"GET / HTTP/1.1\r\nHost: a\r\nVia: 1.1 gw-test, 1.1 other\r\n" + CLOSE + b"\r\n")
    assert status_of(answer) == 502
    assert b"proxy_loop_detected" in answer
    assert b"A gateway named gw-test has forwarded this request" in answer
    assert upstream.received == []


@pytest.mark.parametrize(
    ("given", "kept"),
    [(b"abc-123", True), (b"a" * 128, True), (b"a" * 129, False), (b"a b", False), (b"\xe9", False), (b"", False)],
)
async def test_request_id_is_taken_if_sane(gateway: Running, upstream: Upstream, given: bytes, kept: bool) -> None:
    answer = await gateway.raw(b"GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: %b\r\n\r\n" % given, until=b"ok")
    [sent] = upstream.received[0].fields("X-Request-Id")
    assert (sent.encode() == given) is kept
    assert f"X-Request-Id: {sent}\r\n".encode() in answer
    assert (await gateway.records.wait(1))[0].request_id == sent


async def test_pipelined_requests_are_answered_in_order(gateway: Running, upstream: Upstream) -> None:
    wire = b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % n for n in range(20))
    answer = await gateway.raw(wire + b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert answer.count(b"HTTP/1.1 200 OK") == 21
    assert [request.target for request in upstream.received] == [*(f"/{n}" for n in range(20)), "/last"]


async def test_a_slow_head_arrives_byte_by_byte(gateway: Running, upstream: Upstream) -> None:
    import asyncio

    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    for byte in b"POST /slow HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n":
        writer.write(bytes([byte]))
        await writer.drain()
        await turns()
    assert b"200 OK" in await reader.readuntil(b"ok")
    writer.close()
    assert upstream.received[0].target == "/slow"
    assert upstream.received[0].body.endswith(b"0\r\nX: y\r\n\r\n")


async def test_http_1_0_callers(gateway: Running, upstream: Upstream) -> None:
    answer = await gateway.raw(b"GET / HTTP/1.0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Connection: close\r\n" in answer
    answer = await gateway.raw(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", until=b"ok")
    assert b"Connection: keep-alive\r\n" in answer
    answer = await gateway.raw(b"GET / HTTP/1.0\r\nProxy-Connection: keep-alive\r\n\r\n")
    assert b"Connection: close\r\n" in answer


@pytest.mark.parametrize("said", [b"close, keep-alive", b"keep-alive, close", b"keep-alive\r\nConnection: X, Close"])
@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
async def test_who_says_close_is_not_kept_waiting(gateway: Running, version: bytes, said: bytes) -> None:
    """RFC 9112 §9.3: it counts more than keep-alive."""
    answer = await gateway.raw(b"GET / HTTP/%b\r\nHost: a\r\nConnection: %b\r\n\r\n" % (version, said))
    assert answer.count(b"\r\nConnection: ") == 1
    assert b"\r\nConnection: close\r\n" in answer


BOUNDS = [
    (b"GET /" + b"a" * 17000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    (b"GET /" + b"a" * 17000, 414),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 40000 + b"\r\n\r\n", 431),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 40000, 431),
    (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 129 + b"\r\n", 431),
]


@pytest.mark.parametrize(("request_bytes", "status"), BOUNDS, ids=range(len(BOUNDS)))
async def test_oversized_heads(gateway: Running, upstream: Upstream, request_bytes: bytes, status: int) -> None:
    assert status_of(await gateway.raw(request_bytes)) == status
    assert upstream.received == []
