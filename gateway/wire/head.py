"""Message heads, parsed by aiohttp's C parser (llhttp), one complete head at a time.

The only module that touches aiohttp's parser. It is told that no message has a body (`response_with_body=False`), so it
stops behind the head and is at once ready for the next one: one parser serves every socket of a worker, an idle
socket owns none, and bodies are framed by `core.http.framing`, which keeps trailers and never buffers. What the C
parser lets pass but a proxy must not forward is refused by `wire.request_rules` and `wire.response_head`.

The same bytes always mean the same, and callers and upstreams repeat themselves: what a head means is remembered by
its bytes. `tests/app/test_wire_head.py` is the contract with aiohttp: it fails clearly when a new release changes any
of this.
"""

import asyncio
from typing import Any, cast

from aiohttp.http_exceptions import BadStatusLine, HttpProcessingError
from aiohttp.http_parser import HttpRequestParser, HttpResponseParser
from multidict import CIMultiDictProxy

from gateway.core.http.fields import tokens
from gateway.core.http.framing import Decoder, LengthBody

MOST_LENGTH_DIGITS = 15
_MAX_FIELD_BYTES = 1 << 20  # the caller bounds the whole head before it gets here


def require_c_parser() -> None:
    """Raise RuntimeError unless aiohttp's C parser is loaded: most smuggling flaws were in the pure-Python one."""
    if HttpRequestParser.__module__ != "aiohttp._http_parser":
        raise RuntimeError(
            "aiohttp was loaded without its C extensions (AIOHTTP_NO_EXTENSIONS, or a pure-Python wheel); "
            "the gateway refuses to run on the pure-Python HTTP parser"
        )


Malformed: type[Exception] = HttpProcessingError
"""What aiohttp raises where its own servers read what is no HTTP, inside a body too."""

Headers = CIMultiDictProxy[str]
"""Header fields by name, whatever its case; `getall` gives every value of a repeated one."""


class BadHead(Exception):
    """A head that is not forwarded. `status` is the answer it deserves; the reason is a constant sentence."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class _Idle:
    """What the parser wants of a protocol; nothing is ever called because no body passes through it."""

    _reading_paused = False

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class HeadParser:
    """aiohttp's parser for one kind of message. A head it cannot parse spoils it: then it is made anew."""

    def __init__(
        self,
        kind: type[HttpRequestParser] | type[HttpResponseParser],
        loop: asyncio.AbstractEventLoop,
        header_count: int,
        status: int,
    ) -> None:
        """`status` is the answer that a malformed head deserves."""
        self._kind = kind
        self._loop = loop
        self._header_count = header_count
        self._status = status
        self._renew()

    def _renew(self) -> None:
        self._parser = self._kind(
            cast(Any, _Idle()),
            self._loop,
            limit=2**16,
            max_line_size=_MAX_FIELD_BYTES,
            max_field_size=_MAX_FIELD_BYTES,
            max_headers=self._header_count,
            response_with_body=False,
            auto_decompress=False,
        )

    def parse(self, head: bytes) -> Any:
        """aiohttp's message for one complete head with nothing behind it. Raises BadHead."""
        try:
            messages, _, tail = self._parser.feed_data(head)
        except (HttpProcessingError, BadStatusLine) as error:
            self._renew()
            if "Too many headers" in error.message:
                raise BadHead(431 if self._status == 400 else self._status, "too many header fields") from None
            if error.message.startswith("Missing 'Host'"):
                raise BadHead(self._status, "Host is missing") from None
            if error.message.startswith("Duplicate "):
                raise BadHead(self._status, "a field that may stand only once stands twice") from None
            raise BadHead(self._status, f"malformed {self._name} head") from None
        if len(messages) != 1 or tail:
            self._renew()
            raise BadHead(self._status, f"malformed {self._name} head")
        message: Any = messages[0][0]
        if message.upgrade or message.should_close:
            self._renew()
        return message

    @property
    def _name(self) -> str:
        return "request" if self._kind is HttpRequestParser else "response"


def keeps_alive(message: Any) -> bool:
    """RFC 9112 §9.3. llhttp lets HTTP/1.0's `keep-alive` win over `close`, and Proxy-Connection be Connection."""
    if message.should_close or message.version.minor:
        return not message.should_close
    said = connection_options(message.headers)
    return "keep-alive" in said and "close" not in said


def connection_options(headers: Headers) -> list[str]:
    """What all Connection fields say, in lower case."""
    return tokens(",".join(headers.getall("Connection", ())))


def has_bare_cr_or_lf(head: bytes) -> bool:
    """Whether one stands apart from the other in what may be only the beginning of a head (RFC 9112 §2.2)."""
    pairs = head.count(b"\r\n")
    return head.count(b"\n") != pairs or head.count(b"\r") - head.endswith(b"\r") != pairs


def without_empty_lines(buffer: bytes) -> bytes:
    """What comes behind the empty lines before a head (RFC 9112 §2.2); a CR that may be half of one stays. Raises
    BadHead."""
    rest = buffer.lstrip(b"\r\n")
    empty = buffer[: len(buffer) - len(rest)]
    half = empty.endswith(b"\r")
    if has_bare_cr_or_lf(empty) or (half and rest):
        raise BadHead(400, "bare CR or LF before the request line")
    return b"\r" if half else rest


def body_length(text: str, status: int) -> int:
    """The number a Content-Length says. Raises BadHead(status)."""
    if not (text.isascii() and text.isdigit()) or len(text) > MOST_LENGTH_DIGITS:
        raise BadHead(status, "malformed Content-Length")
    return int(text)


def sized(length: int, otherwise: Decoder) -> Decoder:
    """A decoder for so many bytes, `otherwise` for none."""
    return LengthBody(length) if length else otherwise
