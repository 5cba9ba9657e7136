"""An answer that is kept while something else is tried: read to its end, its socket given back."""

import asyncio
from contextlib import suppress

from gateway.upstream.exchange import Exchange
from gateway.wire.body import BodyFailed, BodyStream
from gateway.wire.response_head import ResponseHead

MAX_HELD_BYTES = 256 * 1024
HOLD_S = 1.0
"""An answer that takes longer to arrive is not waited for."""


class HeldAnswer:
    """Takes the place of the exchange it came from, for whoever passes it on. It holds no socket."""

    transport = None

    def __init__(self, exchange: Exchange) -> None:
        assert exchange.head is not None, "held is what has been answered"
        self.head: ResponseHead = exchange.head
        self.whole: bytes | None = exchange.whole
        self.body: BodyStream | None = exchange.body

    def release(self) -> None:
        """Do nothing: the socket was given back when the answer was held."""

    def abort(self) -> None:
        """Do nothing: there is no socket to drop."""


async def hold(exchange: Exchange) -> HeldAnswer | None:
    """The whole answer of an exchange whose head has arrived: the exchange may be released now.

    None when it is too large or too slow to be kept. Then nothing of it is lost: the exchange goes on as if nobody had
    looked. Has to run in a task.
    """
    head, body = exchange.head, exchange.body
    if head is None or head.upgrade or (body is not None and not await read_ahead(body, MAX_HELD_BYTES)):
        return None
    return HeldAnswer(exchange)


async def read_ahead(body: BodyStream, most_bytes: int) -> bool:
    """Wait until the body is complete, but not longer than HOLD_S; all that has come waits for its reader again.

    Returns whether that is the whole body and at most `most_bytes`. Has to run in a task.
    """
    pieces: list[bytes] = []
    with suppress(TimeoutError, BodyFailed):
        async with asyncio.timeout(HOLD_S):
            while not body.complete and body.size <= most_bytes and (data := await body.read()):
                pieces.append(data)
    body.put_back(pieces)
    return body.complete and body.size <= most_bytes
