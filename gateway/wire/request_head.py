"""Request heads: what a caller asks for, checked as strictly as the strictest server behind us might read it.

A head is two parts that are remembered apart, because callers repeat them apart: the method and target of the first
line, and the block of all fields (with the version, which decides what some of them mean). Fields that differ for every
call and mean nothing to the rest, `X-Request-Id` and `traceparent`, are cut out of the block before.
"""

import asyncio
import re
from collections.abc import Callable
from contextlib import suppress
from copy import copy
from typing import Any, NamedTuple

from aiohttp.http_parser import HttpRequestParser

from gateway.core.http.framing import ChunkedBody, Decoder, Fields, NoBody
from gateway.wire.head import BadHead, Headers, HeadParser, sized
from gateway.wire.memo import Doorkeeper, Memo
from gateway.wire.request_rules import check_host, check_line, checked_target, request_body, upgrade

MEMO_FIELDS = 100_000  # what is remembered weighs at most twice as much as so many fields, some 100 MiB
MEMO_BLOCK_BYTES = 2048  # longer ones are parsed each time
MEMO_LINES = 1024  # of one block
MEMO_LINE_BYTES = 512

_SANE_ID = r"[A-Za-z0-9._~+/=:@-]{1,128}"  # any other is replaced by one of ours
_REQUEST_ID = re.compile(_SANE_ID)
_OWN_EACH_CALL = re.compile(
    rb"\r\n(?:[Xx]-[Rr]equest-[Ii][Dd]: (" + _SANE_ID.encode() + rb")"
    rb"|[Tt]raceparent: (00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}))(?=\r\n)"
)
_HOPS = re.compile(rb"[0-9]{1,9}")
_LINE_WEIGHT = 4  # what a request line weighs, in fields
_VERSION_BYTES = len("HTTP/1.1")
_NO_BODY = NoBody()
_NO_HEADS: "dict[bytes, RequestHead]" = {}
"""Of the many callers who never send the same line twice; never changed."""


class Ids(NamedTuple):
    """What this call alone says: the values of X-Request-Id and traceparent, None for none that can be used."""

    request_id: str | None
    traceparent: str | None


_NO_IDS = Ids(None, None)


class FieldBlock:
    """The fields of a head, in what they mean for every request line they may stand behind.

    fields, headers  as in `RequestHead`; what was let go is parsed again for whoever asks, and then it stays
    via         whether they have a `Via`
    remembered  what the stages know about calls with these fields, by what else it depends on; theirs alone
    grow        to be told, in fields, what that weighs
    text        what stands in the memory, and `parse` for it; b"" = it does not stand there, or is not let go
    """

    __slots__ = (
        "chunked", "expects_continue", "fields", "grow", "headers", "heads", "http10", "ids", "keep_alive", "length",
        "parse", "remembered", "says_ids", "text", "upgrade", "via",
    )  # fmt: skip

    fields: Fields
    headers: Headers
    via: bool
    http10: bool
    keep_alive: bool
    length: int
    chunked: bool
    upgrade: str
    expects_continue: bool
    says_ids: bool
    ids: Ids
    heads: "dict[bytes, RequestHead]"
    remembered: dict[Any, Any]
    grow: Callable[[int], None]
    text: bytes
    parse: Callable[[bytes], Any]

    def let_go(self) -> None:
        """The stages have seen all they need for calls like this: twenty objects that the next one does not touch."""
        if self.text:
            with suppress(AttributeError):  # they are gone already
                del self.fields, self.headers

    def __getattr__(self, name: str) -> Any:
        """Somebody needs them in each call: once more will do."""
        if name not in ("fields", "headers"):
            raise AttributeError(name)
        message = self.parse(b"GET / " + self.text)
        self.text, self.fields, self.headers = b"", message.raw_headers, message.headers
        return self.fields if name == "fields" else self.headers


class RequestHead:
    """One request head; shared by all calls that send the same, so nothing in it ever changes.

    fields      the raw (name, value) pairs in order; `headers` the same, case-insensitive
    length      of a body that is not chunked; 0 = there is none
    remembered  what the stages know about calls with this head, by peer; theirs alone; None: it is not kept
    """

    __slots__ = (
        "block", "chunked", "expects_continue", "has_body", "http10", "keep_alive", "length", "method", "remembered",
        "target", "upgrade",
    )  # fmt: skip

    def __init__(self, method: str, target: str, block: FieldBlock) -> None:
        self.method = method
        self.target = target
        self.http10 = block.http10
        self.keep_alive = block.keep_alive
        self.length = block.length
        self.chunked = block.chunked
        self.has_body = block.chunked or block.length > 0
        self.upgrade = block.upgrade
        self.expects_continue = block.expects_continue
        self.block = block
        self.remembered: dict[str, Any] | None = None

    @property
    def fields(self) -> Fields:
        return self.block.fields

    @property
    def headers(self) -> Headers:
        return self.block.headers

    def saying(self, fields: Fields) -> "RequestHead":
        """The same head with other fields to pass on; not remembered."""
        other, other.block = copy(self), _unremembered(self.block, fields)
        return other

    @property
    def body(self) -> Decoder:
        """A fresh decoder for the body of one call."""
        return ChunkedBody() if self.chunked else sized(self.length, _NO_BODY)


class RequestHeadParser:
    """Parses complete request heads, strictly. One per worker."""

    def __init__(self, loop: asyncio.AbstractEventLoop, header_count: int = 128) -> None:
        self._parser = HeadParser(HttpRequestParser, loop, header_count, 400)
        self._header_count = header_count
        self._blocks: Memo[bytes, FieldBlock] = Memo(MEMO_FIELDS, _weight, _drop)
        self._came_before = Doorkeeper()
        self._lines = Doorkeeper()

    def parse(self, head: bytes) -> RequestHead:
        """`head` ends with the empty line and holds nothing behind it. Raises BadHead."""
        return self.read(head)[0]

    def read(self, head: bytes) -> tuple[RequestHead, Ids]:
        """What a head means, and what it says for this call alone. Raises BadHead.

        `head` ends with the empty line and holds nothing behind it. The ids may also stand in `fields`.
        """
        border = head.find(b"\r\n") - _VERSION_BYTES
        block = self._blocks.young.get(head[border:])
        if block is not None:
            line = head[:border]
            known = block.heads.get(line)
            if known is not None:
                return known, block.ids
            return self._new_head(head, line, block), block.ids
        return self._read_apart(head, border)

    def forget(self) -> None:
        """Nothing that was worked out before is true any more."""
        self._blocks.forget()

    def _read_apart(self, head: bytes, border: int) -> tuple[RequestHead, Ids]:
        """Read a head whose block is not known as it stands: most often only the ids in it are new."""
        if border < 0:
            raise BadHead(400, "malformed request line")
        whole = head[border:]
        text, ids = _cut(whole)
        block = self._blocks.young.get(text) or self._blocks.recall(text)
        if block is None:
            check_line(head)
            block = self._block(text, whole, ids)
            if len(text) <= MEMO_BLOCK_BYTES and (text is whole or not block.says_ids):
                self._remember(text, block)
        line = head[:border]
        known = block.heads.get(line)
        return known or self._new_head(head, line, block), block.ids if block.says_ids else ids

    def _remember(self, text: bytes, block: FieldBlock) -> None:
        """From the second time on: a crowd of callers that come once takes no memory."""
        if self._came_before.knows(text):
            self._blocks.remember(text, block)
            block.grow = self._blocks.grow
            block.text, block.parse = text, self._parser.parse

    def _block(self, text: bytes, whole: bytes, ids: Ids) -> FieldBlock:
        """Parse what is left of the fields; all of them when one that was cut is said a second time."""
        if text.count(b"\r\n") + sum(value is not None for value in ids) - 2 > self._header_count:
            raise BadHead(431, "too many header fields")
        block = _block(self._parser.parse(b"GET / " + text), text[:_VERSION_BYTES] == b"HTTP/1.0")
        if text is not whole and block.says_ids:
            return _block(self._parser.parse(b"GET / " + whole), block.http10)
        return block

    def _new_head(self, head: bytes, line: bytes, block: FieldBlock) -> RequestHead:
        method, target = check_line(head)
        if method in ("OPTIONS", "TRACE") and "Max-Forwards" in block.headers:
            block = _one_hop_less(block)
        new = RequestHead(method, checked_target(method, target, block), block)
        kept = len(line) <= MEMO_LINE_BYTES and block.grow is not _weightless
        if kept and self._lines.knows((id(block), line)):  # many are said once: with the number of something in them
            if not block.heads or len(block.heads) >= MEMO_LINES:
                block.heads = {}
            block.heads[line] = new
            new.remembered = {}
            block.grow(_LINE_WEIGHT)
        return new


def _one_hop_less(block: FieldBlock) -> FieldBlock:
    """The same with what is sent on of Max-Forwards (RFC 9110 §7.6.2)."""
    fields = tuple(
        (name, b"%d" % max(0, int(value) - 1))
        if name.lower() == b"max-forwards" and _HOPS.fullmatch(value)
        else (name, value)
        for name, value in block.fields
    )
    return _unremembered(block, fields)


def _unremembered(block: FieldBlock, fields: Fields) -> FieldBlock:
    other = copy(block)
    other.heads, other.remembered, other.grow, other.text, other.fields = _NO_HEADS, {}, _weightless, b"", fields
    return other


def _weight(block: FieldBlock) -> int:
    """In fields; what the stages remember is told by them."""
    return 1 + len(block.fields) + _LINE_WEIGHT * len(block.heads)


def _drop(block: FieldBlock) -> None:
    """A block and its heads refer to each other; and somebody may hold on to it for long: a call that streams."""
    block.heads = _NO_HEADS
    block.remembered.clear()
    block.grow = _weightless


def _weightless(_weight: int) -> None:
    """What is not remembered counts for nothing."""


def _cut(block: bytes) -> tuple[bytes, Ids]:
    """The block without the fields that are each call's own, and these. Only well-formed ones, and one of each."""
    parts = _OWN_EACH_CALL.split(block)  # what is kept, an id or None, a parent or None, what is kept, and so on
    if len(parts) not in (4, 7):
        return block, _NO_IDS
    request_id, parent = parts[1] or parts[-3], parts[2] or parts[-2]
    if len(parts) == 7 and (request_id is None or parent is None):  # it is said twice
        return block, _NO_IDS
    return b"".join(parts[::3]), Ids(_text(request_id), _text(parent))


def _text(given: bytes | None) -> str | None:
    return None if given is None else given.decode("ascii")


def _block(message: Any, http10: bool) -> FieldBlock:
    block = FieldBlock()
    block.heads = _NO_HEADS
    block.remembered = {}
    block.grow = _weightless
    block.text = b""
    block.http10 = http10
    block.keep_alive = not message.should_close
    block.fields = message.raw_headers
    headers = block.headers = message.headers
    block.via = "Via" in headers
    check_host(headers, http10)
    block.length = request_body(message, headers, http10)
    block.chunked = message.chunked
    bodiless = not block.length and not block.chunked
    block.upgrade = upgrade(headers) if message.upgrade and bodiless and not http10 else ""
    block.expects_continue = False
    if "Expect" in headers:
        if any(value.lower() != "100-continue" for value in headers.getall("Expect")):
            raise BadHead(417, "the only expectation that can be met is 100-continue")
        block.expects_continue = not http10
    block.says_ids = "X-Request-Id" in headers or "traceparent" in headers
    block.ids = _ids(headers) if block.says_ids else _NO_IDS
    return block


def _ids(headers: Headers) -> Ids:
    request_id = headers.get("X-Request-Id", "")
    parents = headers.getall("traceparent", ())
    return Ids(request_id if _REQUEST_ID.fullmatch(request_id) else None, parents[0] if len(parents) == 1 else None)
