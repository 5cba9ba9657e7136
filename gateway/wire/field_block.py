"""The fields of a request head, read once for all heads that say the same, and what is remembered with them."""

import re
from collections.abc import Callable
from contextlib import suppress
from copy import copy
from typing import TYPE_CHECKING, Any

from gateway.core.http.fields import tokens
from gateway.core.http.framing import Fields
from gateway.wire.head import BadHead, Headers, keeps_alive
from gateway.wire.ids import NO_IDS, Ids, ids_of
from gateway.wire.memo import Memo
from gateway.wire.request_rules import check_host, request_body, upgrade

if TYPE_CHECKING:
    from gateway.wire.request_head import RequestHead

MOST_KEPT = 2048  # with one block: kinds of calls, or peers, that send one and the same fields
_HOPS = re.compile(rb"[0-9]{1,4000}")  # Python makes no number of more than 4,300 digits
_MOST_HOPS = 999_999_999  # that are sent on
_KEPT_WEIGHT = 2
_NO_HEADS: "dict[bytes, RequestHead]" = {}
"""Of the many callers who never send the same line twice; never changed."""


class FieldBlock:
    """The fields of a head, in what they mean for every request line they may stand behind.

    fields, headers  the raw (name, value) pairs in order; the same, case-insensitive. What was let go is parsed again
                for whoever asks, and then it stays
    length      of a body that is not chunked; 0 = there is none
    via         whether they have a `Via`
    remembered  what the stages know about calls with these fields, by what else it depends on; theirs alone
    led         where the last line led that was new to them: of most callers all that is looked for in `remembered`
    memory      where it is remembered, if it is
    weight      what it weighs there, in fields, with all that hangs on it
    text        what stands in the memory, and `parse` for it; b"" = it does not stand there, or is not let go
    """

    __slots__ = (
        "chunked", "expects_continue", "fields", "has_body", "headers", "heads", "http10", "ids", "keep_alive",
        "led", "length", "memory", "parse", "remembered", "says_ids", "text", "upgrade", "via", "weight",
    )  # fmt: skip

    fields: Fields
    headers: Headers
    via: bool
    http10: bool
    keep_alive: bool
    length: int
    chunked: bool
    has_body: bool
    upgrade: str
    expects_continue: bool
    says_ids: bool
    ids: Ids
    heads: "dict[bytes, RequestHead]"
    remembered: dict[Any, Any]
    led: Any
    memory: "Memo[bytes, FieldBlock] | None"
    weight: int
    text: bytes
    parse: Callable[[bytes], Any]

    def keep(self, key: Any, value: Any) -> None:
        """Remember what a stage knows. Beyond `MOST_KEPT` it begins anew."""
        self.keep_in(self.remembered, key, value, MOST_KEPT, _KEPT_WEIGHT)

    def keep_in(self, remembered: dict[Any, Any], key: Any, value: Any, most: int, weight: int) -> None:
        """Remember something that hangs on this block: at most so many, of so much weight each; then it begins anew."""
        before = len(remembered)
        if before >= most:
            remembered.clear()
        remembered[key] = value
        self.grow(weight * (len(remembered) - before))

    def grow(self, weight: int) -> None:
        """What hangs on it weighs more by so much, in fields, or less."""
        if self.memory is not None:
            self.weight += weight
            self.memory.grow(weight)

    def let_go(self) -> None:
        """The stages have seen all they need for calls like this: twenty objects that the next one does not touch."""
        if self.text:
            with suppress(AttributeError):  # they are gone already
                del self.fields, self.headers

    def saying(self, fields: Fields) -> "FieldBlock":
        """The same with other fields to pass on; not remembered."""
        other = copy(self)
        other.heads, other.remembered, other.led, other.memory = _NO_HEADS, {}, None, None
        other.text, other.fields = b"", fields
        return other

    def one_hop_less(self) -> "FieldBlock":
        """The same with what is sent on of Max-Forwards (RFC 9110 §7.6.2); not remembered."""
        return self.saying(
            tuple(
                (name, b"%d" % min(max(0, int(value) - 1), _MOST_HOPS))
                if name.lower() == b"max-forwards" and _HOPS.fullmatch(value)
                else (name, value)
                for name, value in self.fields
            )
        )

    def leave_memory(self) -> None:
        """It and its heads refer to each other; and somebody may hold on to it for long: a call that streams."""
        self.heads = _NO_HEADS
        self.remembered.clear()
        self.led = self.memory = None

    def __getattr__(self, name: str) -> Any:
        """Somebody needs them in each call: once more will do."""
        if name not in ("fields", "headers"):
            raise AttributeError(name)
        message = self.parse(b"GET / " + self.text)
        self.text, self.fields, self.headers = b"", message.raw_headers, message.headers
        return self.fields if name == "fields" else self.headers


def read_block(message: Any, http10: bool) -> FieldBlock:
    """What the fields of a parsed message mean. Raises BadHead where they mean nothing, or more than one thing."""
    block = FieldBlock()
    block.heads = _NO_HEADS
    block.remembered = {}
    block.led = block.memory = None
    block.text = b""
    block.http10 = http10
    block.keep_alive = keeps_alive(message)
    block.fields = message.raw_headers
    headers = block.headers = message.headers
    block.via = "Via" in headers
    check_host(headers, http10)
    block.length = request_body(message, headers, http10)
    block.chunked = message.chunked
    block.has_body = block.chunked or block.length > 0
    block.upgrade = upgrade(headers) if message.upgrade and not (block.has_body or http10) else ""
    block.expects_continue = False
    if "Expect" in headers:
        expected = tokens(",".join(headers.getall("Expect")))
        if any(one != "100-continue" for one in expected):
            raise BadHead(417, "the only expectation that can be met is 100-continue")
        block.expects_continue = bool(expected) and not http10
    block.says_ids = "X-Request-Id" in headers or "traceparent" in headers
    block.ids = ids_of(headers) if block.says_ids else NO_IDS
    return block
