"""Response heads: what an upstream answers, refused where a lenient reading could desynchronise the next answer."""

import asyncio
import copy
import re
from math import inf
from typing import Any

from aiohttp.http_parser import HttpResponseParser

from gateway.core.http.framing import ChunkedBody, CloseDelimited, Decoder, Fields, NoBody
from gateway.wire.head import BadHead, Headers, HeadParser, body_length, has_bare_cr_or_lf, keeps_alive, sized
from gateway.wire.memo import Memo

MEMO_FIELDS = 16_000  # what is remembered weighs at most as much as so many fields
MEMO_HEAD_BYTES = 2048
MOST_FIELDS = 256
MARGIN_S = 1.0  # that a request may take to an upstream which is about to close its socket

_STATUS_LINE = re.compile(rb"HTTP/1\.[0-9] [1-9][0-9]{2}(?: [\t\x20-\x7e\x80-\xff]*)?\r\n(?![ \t])")
_VERSION = b"HTTP/1."
_NO_FIELD = re.compile(rb"\r\n(?![!#$%&'*+\-.^_`|~0-9A-Za-z]+:|\r)")
_CLOSES_AFTER = re.compile(r"(?:^|[,;\s])timeout\s*=\s*\"?([0-9]{1,9})", re.IGNORECASE)
_OBS_FOLD = re.compile(rb"[ \t]*\r\n[ \t]+")
_NO_BODY = NoBody()

CHUNKED, CLOSE_DELIMITED = -1, -2


class ResponseHead:
    """One response head; shared by all answers that say the same, so nothing in it ever changes.

    idle_s      how long after this answer the socket may be used again; inf = the upstream does not say
    length      bytes of the body; 0 = none; CHUNKED or CLOSE_DELIMITED when the head does not say
    means       the status that the answer is judged by: its own, unless its body says otherwise
    remembered  what the stages know about answers with this head; theirs alone
    """

    __slots__ = (
        "fields", "headers", "idle_s", "keep_alive", "length", "means", "reason", "remembered", "status", "upgrade",
    )  # fmt: skip

    status: int
    reason: str
    keep_alive: bool
    fields: Fields
    headers: Headers
    idle_s: float
    length: int
    means: int
    upgrade: bool
    remembered: object

    @property
    def body(self) -> Decoder:
        """A fresh decoder for the body of one answer."""
        if self.length >= 0:
            return sized(self.length, _NO_BODY)
        return ChunkedBody() if self.length == CHUNKED else CloseDelimited()

    def meaning(self, status: int) -> "ResponseHead":
        """The same head, of one answer that means this."""
        other = copy.copy(self)
        other.means = status
        return other


class ResponseHeadParser:
    """Parses complete response heads. One per worker. Raises BadHead(502) for what must not be passed on."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._parser = HeadParser(HttpResponseParser, loop, MOST_FIELDS, 502)
        self._known: Memo[bytes, ResponseHead] = Memo(MEMO_FIELDS, _weight)
        self._known_to_head: Memo[bytes, ResponseHead] = Memo(MEMO_FIELDS, _weight)

    def parse(self, head: bytes, method: str) -> ResponseHead:
        """`method` is the request's: it decides whether there is a body (RFC 9112 §6.3)."""
        memo = self._known if method != "HEAD" else self._known_to_head
        known = memo.young.get(head) or memo.recall(head)
        if known is None:
            known = _response(self._parser.parse(_checked(head)), method)
            if len(head) <= MEMO_HEAD_BYTES:
                memo.remember(head, known)
        return known


def not_http1(data: bytes) -> str:
    """What is wrong with bytes that are no beginning of a head. HTTP/2 begins with SETTINGS (RFC 9113 §3.4, §6.5)."""
    settings = len(data) >= 9 and data[3] == 4 and data[5:9] == bytes(4)
    return "an HTTP/2 frame, not an HTTP/1.x response" if settings else "not an HTTP/1.x response"


def may_begin_a_head(text: bytes) -> bool:
    """Whether an unfinished head can become a good one: an upstream that speaks otherwise is not waited for."""
    return _VERSION.startswith(text[: len(_VERSION)]) and not has_bare_cr_or_lf(text)


def _weight(head: ResponseHead) -> int:
    return 1 + len(head.fields)


def _checked(head: bytes) -> bytes:
    """The head with folded lines unfolded. Raises BadHead where the C parser is too lenient."""
    if has_bare_cr_or_lf(head):
        raise BadHead(502, "bare CR or LF in the response head")
    if _STATUS_LINE.match(head) is None:  # the C parser is lenient here: it skips empty lines, takes any byte
        raise BadHead(502, "malformed status line")
    if b"\r\n " in head or b"\r\n\t" in head:
        head = _OBS_FOLD.sub(b" ", head)  # RFC 9112 §5.2: a proxy unfolds what an old server folded
    if _NO_FIELD.search(head, 0, len(head) - 1) is not None:  # aiohttp parses answers leniently: `Name : value`
        raise BadHead(502, "malformed field name in the response head")
    return head


def _response(message: Any, method: str) -> ResponseHead:
    if message.version.major != 1:
        raise BadHead(502, "not an HTTP/1.x response")
    head = ResponseHead()
    head.status = head.means = message.code
    head.reason = message.reason
    head.fields = message.raw_headers
    head.headers = message.headers
    head.upgrade = message.code == 101
    head.length = _response_body(message, method)
    head.keep_alive = keeps_alive(message) and head.length != CLOSE_DELIMITED
    head.idle_s = _idle_s(message.headers)
    head.remembered = None
    return head


def _idle_s(headers: Headers) -> float:
    """By `Keep-Alive: timeout=5`: the upstream closes then, and a request must not cross that on its way."""
    said = _CLOSES_AFTER.search(headers.get("Keep-Alive", ""))
    if said is None:
        return inf
    closes_s = int(said[1])
    return max(closes_s - MARGIN_S, closes_s / 2)


def _response_body(message: Any, method: str) -> int:
    """RFC 9112 §6.3 in order."""
    headers = message.headers
    lengths = headers.getall("Content-Length", ())
    encoded = "Transfer-Encoding" in headers
    if encoded and lengths:
        raise BadHead(502, "ambiguous body length in the response")
    length = body_length(lengths[0], 502) if lengths else CLOSE_DELIMITED
    code = message.code
    if method == "HEAD" or code < 200 or code in (204, 304):
        return 0
    if encoded:
        if message.version.minor == 0:
            raise BadHead(502, "a transfer coding in an HTTP/1.0 response")
        codings = headers.getall("Transfer-Encoding")
        if len(codings) != 1 or codings[0].lower() != "chunked":
            raise BadHead(502, "transfer coding other than chunked in the response")
        return CHUNKED
    return length
