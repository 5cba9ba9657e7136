"""What an answer means whose body says it: "too many calls" in other words than a status.

A body is looked at before it is passed on where that holds nobody up: it is here, or short, or an error's. What comes
later is looked at when it has passed (`gateway.guarding.overheard`).
"""

import asyncio

from gateway.core.http.content_types import is_document
from gateway.core.http.signals import TOO_MANY
from gateway.core.learning import LOOKED_AT_BYTES, may_say, says_too_many
from gateway.core.upstream import Learning
from gateway.upstream.exchange import Exchange
from gateway.upstream.held import read_ahead
from gateway.wire.response_head import ResponseHead


async def understood(exchange: Exchange, learning: Learning, *, patient: bool) -> ResponseHead:
    """The head of the exchange, which has arrived, with what its body makes of it. The body is still to be read.

    patient  also a document whose length is not told is waited for: it matters at once what it says
    """
    head = exchange.head
    assert head is not None, "understood is what has been answered"
    content_type = head.headers.get("Content-Type", "")
    if not may_say(learning, head.status, content_type):
        return head
    body = await _soon(exchange, head, worth_it=patient and is_document(content_type))
    if body is not None and says_too_many(learning, head.status, head.headers.get("Content-Encoding", ""), body):
        head = exchange.head = head.meaning(TOO_MANY)
    return head


async def _soon(exchange: Exchange, head: ResponseHead, *, worth_it: bool) -> bytes | None:
    """All of the body; None if it is too long, or not worth waiting for."""
    body = exchange.body
    if body is None:
        return exchange.whole
    if not body.complete:
        short = head.status >= 400 or head.length >= 0
        if not (short or worth_it) or head.length > LOOKED_AT_BYTES:
            return None
        await asyncio.create_task(read_ahead(body, LOOKED_AT_BYTES))
    if not body.complete:
        return None
    data = body.take()
    body.put_back([data])
    return data
