"""Request heads: what a caller asks for, read once for all who send the same. What one may say: `request_rules`.

A head is two parts that are remembered apart, because callers repeat them apart: the method and target of the first
line, and the block of all fields (with the version, which decides what some of them mean). Fields that differ for every
call and mean nothing to the rest, `X-Request-Id` and `traceparent`, are cut out of the block before.
"""

import asyncio
import re
from copy import copy
from operator import attrgetter
from typing import Any

from aiohttp.http_parser import HttpRequestParser

from gateway.core.http.framing import ChunkedBody, Decoder, Fields, NoBody
from gateway.wire.field_block import FieldBlock, read_block
from gateway.wire.head import BadHead, Headers, HeadParser, sized
from gateway.wire.ids import Ids, cut
from gateway.wire.memo import Doorkeeper, Memo
from gateway.wire.request_rules import check_line, checked_target

MEMO_FIELDS = 200_000  # what is remembered weighs at most as much as so many fields, some 80 MiB
MEMO_BLOCK_BYTES = 2048  # longer ones are parsed each time
MEMO_LINES = 1024  # of one block
MEMO_LINE_BYTES = 512
MOST_PEERS = 16  # that send one and the same head

_LINE_WEIGHT = 4  # what a request line weighs, in fields
_FIELD_BYTES = 128  # so many more bytes weigh as much as one more field
_NEWEST = b"HTTP/1.1"
_VERSION_BYTES = len(_NEWEST)
_NEWER = re.compile(rb"HTTP/1\.[2-9]\r\n")
_NO_BODY = NoBody()


class RequestHead:
    """One request head; shared by all calls that send the same, so nothing in it ever changes.

    block       its fields and what they mean; most of what is asked here is answered there
    target      raw, as `checked_target` has it
    remembered  what the stages know about calls with this head, by peer; theirs alone; None: it is not kept
    """

    __slots__ = ("block", "method", "remembered", "target")

    def __init__(self, method: str, target: str, block: FieldBlock) -> None:
        self.method = method
        self.target = target
        self.block = block
        self.remembered: dict[str, Any] | None = None

    @property
    def fields(self) -> Fields:
        return self.block.fields

    @property
    def headers(self) -> Headers:
        return self.block.headers

    @property
    def http10(self) -> bool:
        return self.block.http10

    @property
    def chunked(self) -> bool:
        return self.block.chunked

    @property
    def has_body(self) -> bool:
        return self.block.has_body

    @property
    def upgrade(self) -> str:
        return self.block.upgrade

    @property
    def expects_continue(self) -> bool:
        return self.block.expects_continue

    def keep(self, peer: str, value: Any) -> None:
        """Remember what a stage knows. Beyond `MOST_PEERS` it begins anew. Only for a head that is kept."""
        assert self.remembered is not None, "it is kept"
        self.block.keep_in(self.remembered, peer, value, MOST_PEERS, 1)

    def saying(self, fields: Fields) -> "RequestHead":
        """The same head with other fields to pass on; not remembered."""
        other, other.block = copy(self), self.block.saying(fields)
        return other

    @property
    def body(self) -> Decoder:
        """A fresh decoder for the body of one call."""
        block = self.block
        return ChunkedBody() if block.chunked else sized(block.length, _NO_BODY)


class RequestHeadParser:
    """Parses complete request heads, strictly. One per worker."""

    def __init__(self, loop: asyncio.AbstractEventLoop, header_count: int = 128) -> None:
        self._parser = HeadParser(HttpRequestParser, loop, header_count, 400)
        self._header_count = header_count
        self._blocks: Memo[bytes, FieldBlock] = Memo(MEMO_FIELDS, attrgetter("weight"), FieldBlock.leave_memory)
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
        text, ids = cut(whole)
        block = self._blocks.young.get(text) or self._blocks.recall(text)
        if block is None:
            if _NEWER.match(whole) is not None:  # RFC 9110 §6.2: as the newest one that is known
                return self.read(head[:border] + _NEWEST + whole[_VERSION_BYTES:])
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
            block.weight = 1 + len(block.fields) + len(text) // _FIELD_BYTES
            self._blocks.remember(text, block)
            block.memory = self._blocks
            block.text, block.parse = text, self._parser.parse

    def _block(self, text: bytes, whole: bytes, ids: Ids) -> FieldBlock:
        """Parse what is left of the fields; all of them when one that was cut is said a second time."""
        if text.count(b"\r\n") + sum(value is not None for value in ids) - 2 > self._header_count:
            raise BadHead(431, "too many header fields")
        block = read_block(self._parser.parse(b"GET / " + text), text[:_VERSION_BYTES] == b"HTTP/1.0")
        if text is not whole and block.says_ids:
            return read_block(self._parser.parse(b"GET / " + whole), block.http10)
        return block

    def _new_head(self, head: bytes, line: bytes, block: FieldBlock) -> RequestHead:
        method, target = check_line(head)
        if method in ("OPTIONS", "TRACE") and "Max-Forwards" in block.headers:
            block = block.one_hop_less()
        new = RequestHead(method, checked_target(method, target, block), block)
        kept = len(line) <= MEMO_LINE_BYTES and block.memory is not None
        if kept and self._lines.knows((id(block), line)):  # many are said once: with the number of something in them
            if not block.heads or len(block.heads) >= MEMO_LINES:
                block.grow(-sum(_LINE_WEIGHT + len(head.remembered or ()) for head in block.heads.values()))
                block.heads = {}
            block.heads[line] = new
            new.remembered = {}
            block.grow(_LINE_WEIGHT)
        return new
