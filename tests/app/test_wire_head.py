"""The contract with aiohttp's C parser, and what our heads accept and refuse beyond it.

When a new aiohttp changes anything the gateway relies on, this file says what.
"""

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.http.framing import ChunkedBody, CloseDelimited, LengthBody, NoBody
from gateway.wire.head import BadHead, require_c_parser
from gateway.wire.request_head import RequestHeadParser
from gateway.wire.response_head import ResponseHeadParser


@pytest.fixture
async def requests() -> AsyncIterator[RequestHeadParser]:
    return RequestHeadParser(asyncio.get_running_loop())


@pytest.fixture
async def responses() -> AsyncIterator[ResponseHeadParser]:
    return ResponseHeadParser(asyncio.get_running_loop())


def test_the_c_parser_is_loaded() -> None:
    require_c_parser()


def test_without_the_c_parser_we_refuse() -> None:
    code = "from gateway.wire.head import require_c_parser; require_c_parser()"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "AIOHTTP_NO_EXTENSIONS": "1"}, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "refuses to run on the pure-Python HTTP parser" in done.stderr


async def test_one_parser_serves_any_mix_of_messages(requests: RequestHeadParser) -> None:
    """No message may leave anything behind for the next: bodies, closes, upgrades and errors included."""
    mix = [
        b"POST /len HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n",
        b"POST /chunked HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET /close HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"GET /old HTTP/1.0\r\n\r\n",
        b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"GET /h2 HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
        b"FROBNICATE /odd HTTP/1.1\r\nHost: a\r\n\r\n",
    ]
    for before in [*mix, b"BAD\r\n\r\n", b"GET / HTTP/1.1\r\nHost : a\r\n\r\n"]:
        with contextlib.suppress(BadHead):
            requests.parse(before)
        for after in mix:
            head = requests.parse(after)
            assert head.target.encode() == after.split(b" ")[1]
            assert head.method.encode() == after.split(b" ")[0]


async def test_raw_fields_keep_order_case_repeats_and_bytes(requests: RequestHeadParser) -> None:
    head = requests.parse(b"GET / HTTP/1.1\r\nhOsT: a\r\nX-A:\t1 \r\nx-a: \xe9\xff\r\nX-Empty:\r\nX-A: 2\r\n\r\n")
    assert head.fields == ((b"hOsT", b"a"), (b"X-A", b"1"), (b"x-a", b"\xe9\xff"), (b"X-Empty", b""), (b"X-A", b"2"))
    assert head.headers.getall("X-A")[0] == "1"


@pytest.mark.parametrize(
    ("lines", "body"),
    [
        (b"", NoBody),
        (b"Content-Length: 0\r\n", NoBody),
        (b"Content-Length: 7\r\n", LengthBody),
        (b"Transfer-Encoding: chunked\r\n", ChunkedBody),
        (b"transfer-encoding: Chunked\r\n", ChunkedBody),
    ],
)
async def test_request_framing(requests: RequestHeadParser, lines: bytes, body: type) -> None:
    assert type(requests.parse(b"POST / HTTP/1.1\r\nHost: a\r\n" + lines + b"\r\n").body) is body


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"Expect: 100-Continue", True),
        (b"Expect: , 100-continue,", True),
        (b"Expect: 100-continue\r\nExpect: 100-continue, 100-continue", True),
        (b"Expect:", False),
        (b"Expect: ,", False),
    ],
)
async def test_expectations_are_a_list(requests: RequestHeadParser, line: bytes, expected: bool) -> None:
    """RFC 9110 §10.1.1, of which empty members are nothing (§5.6.1.2)."""
    assert requests.parse(b"POST / HTTP/1.1\r\nHost: a\r\n" + line + b"\r\n\r\n").expects_continue is expected
    assert not requests.parse(b"POST / HTTP/1.0\r\n" + line + b"\r\n\r\n").expects_continue


H = b"GET / HTTP/1.1\r\nHost: a\r\n"
BAD_REQUESTS = [
    (b"\r\n\r\n", 400),
    (b"GET\r\n\r\n", 400),
    (b"GET /\r\n\r\n", 400),
    (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    (b"GET / x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    (b"GET /\xe9 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    (b"GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    (b"GET /#f HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    (b"GET x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    (b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    (b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    (b"GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    (b"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    (b"GET http://a@b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    (b"GET / HTTP/1.2\r\n\r\n", 400),
    (b"GET / HTTP/1.\r\nHost: a\r\n\r\n", 400),
    (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
    (b"GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505),
    (b"GET / http/1.1\r\nHost: a\r\n\r\n", 400),
    (b"GET / HTTP/1.10\r\nHost: a\r\n\r\n", 400),
    (b"G(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    (b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", 405),
    (b"GET / HTTP/1.1\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: a:x\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: \xe9\r\n\r\n", 400),
    (H + b"X y: 1\r\n\r\n", 400),
    (H + b"X : 1\r\n\r\n", 400),
    (H + b": 1\r\n\r\n", 400),
    (H + b"X\r\n\r\n", 400),
    (H + b"X: a\x00b\r\n\r\n", 400),
    (H + b"X: a\x01b\r\n\r\n", 400),
    (H + b"X: a\r\n folded\r\n\r\n", 400),
    (H + b"X: a\rb: c\r\n\r\n", 400),
    (H + b"X: a\nb: c\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
    (H + b"\xc3\xa9: 1\r\n\r\n", 400),
    (H + b"Content-Length: -1\r\n\r\n", 400),
    (H + b"Content-Length: +1\r\n\r\n", 400),
    (H + b"Content-Length: 1_0\r\n\r\n", 400),
    (H + b"Content-Length: 0x1\r\n\r\n", 400),
    (H + b"Content-Length: 1, 1\r\n\r\n", 400),
    (H + b"Content-Length: 1 1\r\n\r\n", 400),
    (H + b"Content-Length: \xd9\xa1\r\n\r\n", 400),
    (H + b"Content-Length:\r\n\r\n", 400),
    (H + b"Content-Length: 99999999999999999999\r\n\r\n", 400),
    (H + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\n", 400),
    (H + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
    (H + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    (H + b"Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n", 400),
    (H + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    (H + b"Transfer-Encoding: chunked, identity\r\n\r\n", 400),
    (H + b"Transfer-Encoding: identity\r\n\r\n", 501),
    (H + b"Transfer-Encoding: xchunked\r\n\r\n", 501),
    (H + b"Transfer-Encoding: gzip, chunked\r\n\r\n", 501),
    (H + b"Transfer-Encoding: \x0bchunked\r\n\r\n", 400),
    (H + b"Transfer-Encoding : chunked\r\n\r\n", 400),
    (H + b"Transfer-Encoding:\r\n chunked\r\n\r\n", 400),
    (b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    (H + b"Expect: 200-ok\r\n\r\n", 417),
    (H + b"Expect: 100-continue\r\nExpect: 200-ok\r\n\r\n", 417),
    (H + b"Expect: 100-continue, 200-ok\r\n\r\n", 417),
    (b"GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n", 400),
    (H + b"Content-Type: a/b\r\nContent-Type: c/d\r\n\r\n", 400),
    (b"GET http://:80/ HTTP/1.1\r\nHost:\r\n\r\n", 400),
    (H + b"".join(b"X-%d: 1\r\n" % n for n in range(200)) + b"\r\n", 431),
]


@pytest.mark.parametrize(("head", "status"), BAD_REQUESTS, ids=range(len(BAD_REQUESTS)))
async def test_refused_requests(requests: RequestHeadParser, head: bytes, status: int) -> None:
    with pytest.raises(BadHead) as bad:
        requests.parse(head)
    assert bad.value.status == status


@pytest.mark.parametrize("minor", [2, 9])
async def test_a_higher_minor_version_is_read_as_the_highest_that_is_known(
    requests: RequestHeadParser, minor: int
) -> None:
    """RFC 9110 §6.2."""
    fields = b"Host: a\r\nTransfer-Encoding: chunked\r\nX-Request-Id: x\r\n\r\n"
    for _ in range(4):  # the third is remembered
        head = requests.parse(b"POST /a HTTP/1.%d\r\n%b" % (minor, fields))
        assert (head.method, head.target, head.block.http10, head.chunked, head.block.keep_alive) == (
            "POST",
            "/a",
            False,
            True,
            True,
        )


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        ("GET /caf\xe9 HTTP/1.1\r\nHost: a\r\n\r\n", "the request target has bytes that must be percent-encoded"),
        ("GET /?q=a b HTTP/1.0\r\n\r\n", "the request target has bytes that must be percent-encoded"),
        ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", "malformed request line"),
        ("G(T / HTTP/1.1\r\nHost: a\r\n\r\n", "malformed request line"),
        ("GET / HTTP/1.1\r\nAccept: a/b\r\n\r\n", "Host is missing"),
    ],
)
async def test_what_is_wrong_is_named(requests: RequestHeadParser, head: str, reason: str) -> None:
    """For people whose program sends any text as a URL, or no Host."""
    with pytest.raises(BadHead) as bad:
        requests.parse(head.encode())
    assert bad.value.reason == reason


@pytest.mark.parametrize(
    ("target", "origin_form"),
    [
        ("http://a", "/"),
        ("http://a?q", "/?q"),
        ("HTTP://A/x//y?z", "/x//y?z"),
        ("https://a/", "/"),
        ("//a/b", "//a/b"),
        ("/%2F/../;x?%zz", "/%2F/../;x?%zz"),
    ],
)
async def test_targets_as_they_are_read(requests: RequestHeadParser, target: str, origin_form: str) -> None:
    assert requests.parse(f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode()).target == origin_form


@pytest.mark.parametrize(
    "pair", [("http://a:80/x", "a"), ("http://a/x", "A:80"), ("https://a:443/x", "a"), ("http://[::1]:80/x", "[::1]")]
)
async def test_a_port_that_the_scheme_means_anyway(requests: RequestHeadParser, pair: tuple[str, str]) -> None:
    assert requests.parse("GET {} HTTP/1.1\r\nHost: {}\r\n\r\n".format(*pair).encode()).target == "/x"


async def test_options_may_ask_about_the_whole_server(requests: RequestHeadParser) -> None:
    assert requests.parse(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").target == "*"


R = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("head", "method", "body", "keep_alive"),
    [
        (R + b"\r\n", "GET", CloseDelimited, False),
        (R + b"Content-Length: 0\r\n\r\n", "GET", NoBody, True),
        (R + b"Content-Length: 5\r\n\r\n", "GET", LengthBody, True),
        (R + b"Content-Length: 5\r\n\r\n", "HEAD", NoBody, True),
        (R + b"Transfer-Encoding: chunked\r\n\r\n", "GET", ChunkedBody, True),
        (R + b"Transfer-Encoding: chunked\r\n\r\n", "HEAD", NoBody, True),
        (R + b"Content-Length: 5\r\nConnection: close\r\n\r\n", "GET", LengthBody, False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", "GET", LengthBody, False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n", "GET", LengthBody, True),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: close, keep-alive\r\n\r\n", "GET", LengthBody, False),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "GET", NoBody, True),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "GET", NoBody, True),
        (b"HTTP/1.1 103 Early Hints\r\n\r\n", "GET", NoBody, True),
        (b"HTTP/1.1 299\r\nContent-Length: 0\r\n\r\n", "GET", NoBody, True),
    ],
)
async def test_response_framing(
    responses: ResponseHeadParser, head: bytes, method: str, body: type, keep_alive: bool
) -> None:
    parsed = responses.parse(head, method)
    assert (type(parsed.body), parsed.keep_alive) == (body, keep_alive)
    again = responses.parse(R + b"Content-Length: 1\r\n\r\n", "GET")  # nothing is left behind
    assert (again.status, type(again.body)) == (200, LengthBody)


@pytest.mark.parametrize(
    ("says", "idle_s"),
    [
        (b"timeout=5", 4), (b"timeout=5, max=100", 4), (b"max=1,TIMEOUT = \"15\"", 14), (b"timeout=2", 1), (b"timeout=1", 0.5),
        (b"timeout=0", 0), (b"max=5", float("inf")), (b"timeout=-1", float("inf")), (b"notimeout=3", float("inf")), (b"", float("inf")),
    ],
)  # fmt: skip
async def test_how_long_an_upstream_keeps_its_socket(responses: ResponseHeadParser, says: bytes, idle_s: float) -> None:
    assert responses.parse(R + b"Keep-Alive: %b\r\nContent-Length: 0\r\n\r\n" % says, "GET").idle_s == idle_s


async def test_folded_response_fields_are_unfolded(responses: ResponseHeadParser) -> None:
    head = responses.parse(R + b"X: a \r\n  folded\r\n\tvalue\r\nContent-Length: 0\r\n\r\n", "GET")
    assert head.fields[0] == (b"X", b"a folded value")


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"GARBAGE\r\n\r\n",
        R + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
        R + b"Content-Length: 5, 5\r\n\r\n",
        R + b"Content-Length: x\r\n\r\n",
        R + b"Content-Length: -1\r\n\r\n",
        R + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        R + b"Transfer-Encoding: gzip\r\n\r\n",
        R + b"Transfer-Encoding: chunked, chunked\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        R + b"X: a\nY: b\r\n\r\n",
        R + b"X: a\rY: b\r\n\r\n",
        R + b"X: a\x00\r\n\r\n",
        R + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\n",
        R + b"X : a\r\n\r\n",
        R + b"no colon\r\n\r\n",
        *(
            line + b"\r\nContent-Length: 0\r\n\r\n"
            for line in (
                b" HTTP/1.1 200 OK",
                b"HTTP/1.1\t200 OK",
                b"HTTP/1.1  200 OK",
                b"HTTP/1.1 +200 OK",
                b"HTTP/1.1 2 00",
                b"HTTP/1.1",
            )
        ),
        *(
            line + b"\r\nContent-Length: 0\r\n\r\n"
            for line in (
                b"HTTP/1.1 200OK",
                b"HTTP/1.1 000 X",
                b"HTTP/1.1 200 a\x00b",
                b"http/1.1 200 OK",
                b"HTTP/2 200",
            )
        ),
        *(
            R + line + b"\r\n\r\n"
            for line in (
                b"X(: y",
                b"X\xe9: y",
                b": y",
                b"X\x00: y",
                b"Content-Length:",
                b"Content-Length: 5;",
                b'Content-Length: "5"',
            )
        ),
    ],
)
async def test_refused_responses(responses: ResponseHeadParser, head: bytes) -> None:
    with pytest.raises(BadHead) as bad:
        responses.parse(head, "GET")
    assert bad.value.status == 502
    assert responses.parse(R + b"Content-Length: 1\r\n\r\n", "GET").status == 200


@pytest.mark.parametrize(
    ("version", "coding", "reason"),
    [
        (1, "gzip, chunked", "transfer coding other than chunked in the response"),
        (0, "chunked", "a transfer coding in an HTTP/1.0 response"),
    ],
)
async def test_what_is_wrong_with_a_response_is_named(
    responses: ResponseHeadParser, version: int, coding: str, reason: str
) -> None:
    with pytest.raises(BadHead) as bad:
        responses.parse(b"HTTP/1.%d 200 OK\r\nTransfer-Encoding: %b\r\n\r\n" % (version, coding.encode()), "GET")
    assert bad.value.reason == reason


@given(st.binary(max_size=120))
def test_no_input_escapes_as_another_exception(junk: bytes) -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        for head in (junk + b"\r\n\r\n", H + junk + b"\r\n\r\n", R + junk + b"\r\n\r\n"):
            for parse in (RequestHeadParser(loop).parse, lambda h: ResponseHeadParser(loop).parse(h, "GET")):
                with contextlib.suppress(BadHead):
                    parse(head)

    asyncio.run(run())
