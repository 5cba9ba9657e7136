"""Request heads spelt in ways that some servers let pass: none is forwarded, however often it comes."""

import asyncio

import pytest

from gateway.wire.head import BadHead
from gateway.wire.request_head import RequestHeadParser

ODD_LINES = [
    *(b" GET /", b"GET\t/", b"GET /\t", b"GET: /", b'"GET" /', b"GET\r /", b"G\0T /", b"G\xc3\x89T /", b"/", b""),
    *(
        b"GET /a b",
        b"GET /\0",
        b"GET /\x0b",
        b"GET /a\rb",
        b"GET ?q",
        b"GET a:80",
        b"GET a/x",
        b"GET @a/",
        b"OPTIONS *?x",
    ),
    *(
        b"GET http:/x",
        b"GET http://?q",
        b"GET http://a:x/",
        b"GET http://a:99999/",
        b"GET http://a\\b/",
        b"GET file:///x",
    ),
]
ODD_VERSIONS = [
    *(
        b" HTTP/1.1 ",
        b" HTTP/1.1\t",
        b" HTTP/1.",
        b" HTTP/1",
        b" HTTP/01.1",
        b" HTTP/1.01",
        b" HTTP /1.1",
        b" HTTP/ 1.1",
        b"",
    ),
    *(
        b" HTTP/-1.1",
        b" HTTP/1,1",
        b" HTTPS/1.1",
        b" ICY/1.1",
        b" HTTP/11.1",
        b" HTTP/2",
        b" HTTP/1.1 x",
        b"\tHTTP/1.1",
    ),
]
ODD_HOSTS = [
    b"a?x",
    b"a#x",
    b"http://a",
    b"a:80:80",
    b"a:-1",
    b":80",
    b"[::1",
    b"::1",
    b"[]",
    b"a\0",
    b"a\x0b",
    b'a"',
    b"<a>",
    b"a\\",
]
ODD_FIELDS = [
    *(b"X\t: y", b"X(: y", b"X\0: y", b"X\x80: y", b'"X": y', b"X@: y", b"X/: y", b"X[]: y", b"X=: y", b"{X}: y", b"X,Y: z", b" X: y"),
    *(b"X: a\r\n\tb", b"X:\r\n b", b"X: a\r\n \r\nY: b", b"X: a\r\r\nY: b", b"X: a\x7fb", b"X: a\x1b[31m", b"X: \x0b"),
    *(b"Content-Length: " + value for value in (b"5,", b",5", b"5,6", b"5.0", b"5e0", b"5;a", b'"5"', b"\x0b5", b"\xc2\xa05", b"\r\n 5")),
    *(b"Content-Length" + rest for rest in (b" : 5", b"\t: 5", b"\0: 5")),
    *(
        b"Transfer-Encoding: " + value
        for value in (b"chunked,", b",chunked", b"chunked;q=1", b'"chunked"', b"chunkedx", b"chunk", b"chunked\x85", b"", b"cow")
    ),
    *(b"Transfer-Encoding" + rest for rest in (b"\t: chunked", b"\xa0: chunked", b":\x0bchunked", b": chun\r\n ked", b": x\r\n chunked")),
    b"Content-Length: 5\r\nTransfer-Encoding: identity",
    b"Content-Length: 5\r\nTransfer-Encoding:",
    b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
]  # fmt: skip


def refused(parser: RequestHeadParser, head: bytes) -> bool:
    try:
        parser.parse(head)
    except BadHead:
        return True
    return False


@pytest.mark.parametrize(
    "heads",
    [
        [line + b" HTTP/1.1\r\nHost: a\r\n\r\n" for line in ODD_LINES],
        [b"GET /" + version + b"\r\nHost: a\r\n\r\n" for version in ODD_VERSIONS],
        [b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n" for host in ODD_HOSTS],
        [b"POST / HTTP/1.1\r\nHost: a\r\n" + field + b"\r\n\r\n" for field in ODD_FIELDS],
    ],
    ids=["lines", "versions", "hosts", "fields"],
)
async def test_odd_spellings_are_refused(heads: list[bytes]) -> None:
    """Also from the second time on, when heads are remembered."""
    parser = RequestHeadParser(asyncio.get_running_loop())
    assert [head for head in heads * 3 if not refused(parser, head)] == []
