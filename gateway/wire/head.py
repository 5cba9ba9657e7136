"""Message heads, parsed by aiohttp's C parser (llhttp), one complete head at a time.

The only module that touches aiohttp's parser. It is told that no message has a body (`response_with_body=False`), so it
stops behind the head and is at once ready for the next one: one parser serves every socket of a worker, an idle
socket owns none, and bodies are framed by `core.framing`, which keeps trailers and never buffers. What the C parser
lets pass but a proxy must not forward is refused here.

`tests/app/test_wire_head.py` is the contract with aiohttp: it fails clearly when a new release changes any of this.
"""

import asyncio
import re
from typing import Any, cast

from aiohttp.http_exceptions import BadStatusLine, HttpProcessingError
from aiohttp.http_parser import HttpRequestParser, HttpResponseParser
from multidict import CIMultiDictProxy

from gateway.core.framing import ChunkedBody, CloseDelimited, Decoder, Fields, LengthBody, NoBody

_KNOWN_METHODS = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"TRACE"})
_REQUEST_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([!-~]+) HTTP/([0-9]\.[0-9])\r\n")
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]+)(?::[0-9]{0,5})?")
_STATUS_LINE = re.compile(rb"HTTP/1\.[0-9] [1-9][0-9]{2}(?: [\t\x20-\x7e\x80-\xff]*)?\r\n(?![ \t])")
_NO_FIELD = re.compile(rb"\r\n(?![!#$%&'*+\-.^_`|~0-9A-Za-z]+:|\r)")
_OBS_FOLD = re.compile(rb"[ \t]*\r\n[ \t]+")
_NO_BODY = NoBody()
_MAX_FIELD_BYTES = 1 << 20  # the caller bounds the whole head before it gets here


def require_c_parser() -> None:
    """Raise RuntimeError unless aiohttp's C parser is loaded: most smuggling flaws were in the pure-Python one."""
    if HttpRequestParser.__module__ != "aiohttp._http_parser":
        raise RuntimeError(
            "aiohttp was loaded without its C extensions (AIOHTTP_NO_EXTENSIONS, or a pure-Python wheel); "
            "the gateway refuses to run on the pure-Python HTTP parser"
        )


Headers = CIMultiDictProxy[str]
"""Header fields by name, whatever its case; `getall` gives every value of a repeated one."""


class BadHead(Exception):
    """A head that is not forwarded. `status` is the answer it deserves; the reason is a constant sentence."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class RequestHead:
    """One request head. `fields` are the raw (name, value) pairs in order; `headers` the same, case-insensitive."""

    __slots__ = (
        "body", "chunked", "expects_continue", "fields", "headers", "http10", "keep_alive", "method", "target",
        "upgrade",
    )  # fmt: skip

    method: str
    target: str
    http10: bool
    keep_alive: bool
    fields: Fields
    headers: Headers
    body: Decoder
    chunked: bool
    upgrade: str
    expects_continue: bool


class ResponseHead:
    """One response head; `interim` is true for 1xx other than 101."""

    __slots__ = ("body", "fields", "headers", "keep_alive", "reason", "status", "upgrade")

    status: int
    reason: str
    keep_alive: bool
    fields: Fields
    headers: Headers
    body: Decoder
    upgrade: bool


class _Idle:
    """What the parser wants of a protocol; nothing is ever called because no body passes through it."""

    _reading_paused = False

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


def _options(header_count: int) -> dict[str, Any]:
    return {
        "limit": 2**16,
        "max_line_size": _MAX_FIELD_BYTES,
        "max_field_size": _MAX_FIELD_BYTES,
        "max_headers": header_count,
        "response_with_body": False,
        "auto_decompress": False,
    }


class RequestHeadParser:
    """Parses complete request heads, strictly. One per worker."""

    def __init__(self, loop: asyncio.AbstractEventLoop, header_count: int = 128) -> None:
        self._loop = loop
        self._header_count = header_count
        self._renew()

    def _renew(self) -> None:
        self._parser = HttpRequestParser(cast(Any, _Idle()), self._loop, **_options(self._header_count))

    def parse(self, head: bytes) -> RequestHead:
        """`head` ends with the empty line and holds nothing behind it. Raises BadHead."""
        line = _REQUEST_LINE.match(head)
        if line is None:
            raise BadHead(400, "malformed request line")
        method = line[1]
        if line[3] not in (b"1.1", b"1.0"):
            raise BadHead(505, "only HTTP/1.0 and HTTP/1.1 are spoken here")
        if method == b"CONNECT":
            raise BadHead(405, "CONNECT is not offered: this is not a forward proxy")
        if method not in _KNOWN_METHODS:  # llhttp has a closed list of methods; any token is a method (RFC 9110 §9.1)
            head = b"POST" + head[len(method) :]
        message = self._feed(head)
        if message.upgrade or message.should_close:
            self._renew()
        return _request(message, method.decode("ascii"), line[3] == b"1.0")

    def _feed(self, head: bytes) -> Any:
        try:
            messages, _, tail = self._parser.feed_data(head)
        except HttpProcessingError as error:
            self._renew()
            if "Too many headers" in error.message:
                raise BadHead(431, "too many header fields") from None
            raise BadHead(400, "malformed request head") from None
        if len(messages) != 1 or tail:
            self._renew()
            raise BadHead(400, "malformed request head")
        return messages[0][0]


def _request(message: Any, method: str, http10: bool) -> RequestHead:
    head = RequestHead()
    head.method = method
    head.target = message.path
    head.http10 = http10
    head.keep_alive = not message.should_close
    head.fields = message.raw_headers
    headers = head.headers = message.headers
    _check_host(headers, http10)
    head.body = _request_body(message, headers, http10)
    head.chunked = message.chunked
    head.upgrade = _upgrade(headers) if message.upgrade and head.body.done and not http10 else ""
    head.expects_continue = False
    if "Expect" in headers:
        if headers["Expect"].lower() != "100-continue":
            raise BadHead(417, "the only expectation that can be met is 100-continue")
        head.expects_continue = not http10
    _check_target(head)
    return head


def _upgrade(headers: Headers) -> str:
    """The protocols asked for, unless the switch would put requests out of our sight, or is in a body's way."""
    asked = headers.get("Upgrade", "")
    hidden = any(name.strip().lower().startswith(("h2c", "http/", "tls/")) for name in asked.split(","))
    return "" if hidden else asked


def _check_host(headers: Headers, http10: bool) -> None:
    host = headers.get("Host")
    if host is None:
        if not http10:
            raise BadHead(400, "Host is missing")
    elif host and _HOST.fullmatch(host) is None:
        raise BadHead(400, "malformed Host")


def _check_target(head: RequestHead) -> None:
    """RFC 9112 §3.2: origin-form, `*` for OPTIONS, absolute-form only when its authority is the Host's."""
    target = head.target
    if target[0] != "/" or "#" in target:
        if "#" in target:
            raise BadHead(400, "fragment in the request target")
        if target == "*":
            if head.method != "OPTIONS":
                raise BadHead(400, "malformed request target")
        else:
            head.target = _origin_form(target, head.headers.get("Host", ""))


def _origin_form(target: str, host: str) -> str:
    scheme, separator, rest = target.partition("://")
    if not separator or scheme.lower() not in ("http", "https"):
        raise BadHead(400, "malformed request target")
    cut = min((i for i in (rest.find("/"), rest.find("?")) if i >= 0), default=len(rest))
    authority, path = rest[:cut], rest[cut:]
    if not authority or authority.lower() != host.lower():
        raise BadHead(400, "the target's authority is not the Host's")
    return path if path.startswith("/") else "/" + path


def _request_body(message: Any, headers: Headers, http10: bool) -> Decoder:
    if "Transfer-Encoding" in headers:
        if http10 or "Content-Length" in headers:
            raise BadHead(400, "ambiguous body length")
        if len(headers.getall("Transfer-Encoding")) != 1 or headers["Transfer-Encoding"].lower() != "chunked":
            raise BadHead(501, "the only transfer coding understood is chunked")
        if not message.chunked:
            raise BadHead(400, "malformed Transfer-Encoding")
        return ChunkedBody()
    length = headers.get("Content-Length")
    return _length_body(length, 400) if length is not None else _NO_BODY


def _length_body(text: str, status: int) -> Decoder:
    if not (text.isascii() and text.isdigit()) or len(text) > 15:
        raise BadHead(status, "malformed Content-Length")
    length = int(text)
    return LengthBody(length) if length else _NO_BODY


class ResponseHeadParser:
    """Parses complete response heads. One per worker. Raises BadHead(502) for what must not be passed on."""

    def __init__(self, loop: asyncio.AbstractEventLoop, header_count: int = 256) -> None:
        self._loop = loop
        self._header_count = header_count
        self._renew()

    def _renew(self) -> None:
        self._parser = HttpResponseParser(cast(Any, _Idle()), self._loop, **_options(self._header_count))

    def parse(self, head: bytes, method: str) -> ResponseHead:
        """`method` is the request's: it decides whether there is a body (RFC 9112 §6.3)."""
        if head.count(b"\n") != head.count(b"\r\n") or head.count(b"\r") != head.count(b"\r\n"):
            raise BadHead(502, "bare CR or LF in the response head")
        if _STATUS_LINE.match(head) is None:  # the C parser is lenient here: it skips empty lines, takes any byte
            raise BadHead(502, "malformed status line")
        if b"\r\n " in head or b"\r\n\t" in head:
            head = _OBS_FOLD.sub(b" ", head)  # RFC 9112 §5.2: a proxy unfolds what an old server folded
        if _NO_FIELD.search(head, 0, len(head) - 1) is not None:  # aiohttp parses answers leniently: `Name : value`
            raise BadHead(502, "malformed field name in the response head")
        try:
            messages, _, tail = self._parser.feed_data(head)
        except (HttpProcessingError, BadStatusLine):
            self._renew()
            raise BadHead(502, "malformed response head") from None
        if len(messages) != 1 or tail:
            self._renew()
            raise BadHead(502, "malformed response head")
        message = messages[0][0]
        if message.upgrade or message.should_close:
            self._renew()
        return _response(message, method)


def _response(message: Any, method: str) -> ResponseHead:
    if message.version.major != 1:
        raise BadHead(502, "not an HTTP/1.x response")
    head = ResponseHead()
    head.status = message.code
    head.reason = message.reason
    head.fields = message.raw_headers
    head.headers = message.headers
    head.upgrade = message.code == 101
    head.body = _response_body(message, method)
    head.keep_alive = not message.should_close and type(head.body) is not CloseDelimited
    return head


def _response_body(message: Any, method: str) -> Decoder:
    """RFC 9112 §6.3 in order, strict where a lenient reading could desynchronise the next response."""
    headers = message.headers
    lengths = headers.getall("Content-Length", ())
    encoded = "Transfer-Encoding" in headers
    if encoded and lengths:
        raise BadHead(502, "ambiguous body length in the response")
    body: Decoder | None = _length_body(lengths[0], 502) if lengths else None
    code = message.code
    if method == "HEAD" or code < 200 or code in (204, 304):
        return _NO_BODY
    if encoded:
        codings = headers.getall("Transfer-Encoding")
        if len(codings) != 1 or codings[0].lower() != "chunked" or message.version.minor == 0:
            raise BadHead(502, "transfer coding other than chunked in the response")
        return ChunkedBody()
    return body if body is not None else CloseDelimited()
