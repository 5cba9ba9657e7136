"""The request's body on its way up: already at hand as a whole, or pumped while the answer is awaited."""

import asyncio
from time import monotonic

from gateway.core.http.fields import chunk, last_chunk
from gateway.listener.request import Request
from gateway.upstream.exchange import Exchange
from gateway.wire.body import BodyFailed, BodyStream


class Upload:
    """One call's body. It is kept for further attempts, as far as `keep` says.

    whole     all of it as it is sent, once that is known; b"" = there is none
    failure   set when the caller broke it off
    waited_s  how long the present attempt waited for the caller to send more, while nothing was answered
    """

    __slots__ = ("_keep_bytes", "_kept", "_waits_since", "body", "chunked", "failure", "task", "waited_s", "whole")

    def __init__(self, body: BodyStream | None, chunked: bool) -> None:
        self.body = body
        self.chunked = chunked
        self.whole: bytes | None = b"" if body is None else None
        self.task: asyncio.Task[None] | None = None
        self.failure: BodyFailed | None = None
        self.waited_s = 0.0
        self._waits_since = 0.0  # 0 = it does not
        self._kept: list[bytes] = []
        self._keep_bytes = 0

    def keep(self, most_bytes: int) -> None:
        """Keep what is sent, unless the body is larger."""
        self._keep_bytes = most_bytes

    @property
    def repeatable(self) -> bool:
        """Whether everything that was sent can be sent again."""
        body = self.body
        if body is None or (self.whole is not None and not self._keep_bytes):
            return True
        return body.size <= self._keep_bytes

    def begin(self) -> bytes:
        """What can be sent with the head: all that there is so far."""
        body = self.body
        self.waited_s = 0.0
        if self.whole is not None or body is None:
            return self.whole or b""
        earlier, fresh = b"".join(self._kept), body.take()
        self._remember(fresh)
        sent = self._framed(earlier + fresh)
        if not body.complete:
            return sent
        self.whole = sent + self._end(body)
        return self.whole

    def pump(self, exchange: Exchange, request: Request, within_us: int) -> None:
        """Send the rest as it comes, in a task; then an answer is owed within so many microseconds.

        100 (Continue) is written now: when the task begins, the upstream may have answered, and 100 would stand in the
        middle of that.
        """
        assert self.body is not None, "without a body everything was sent with the head"
        request.invite_body()
        self.task = asyncio.create_task(self._pump(exchange, self.body, within_us))

    def stop(self) -> None:
        """The answer is over, or nobody wants it: stop sending."""
        if self.task is not None and not self.task.done():
            self.task.cancel()

    def let_wait(self, of_s: float) -> bool:
        """Whether it was the caller who was waited for, for most of so many seconds until now."""
        waiting_s = monotonic() - self._waits_since if self._waits_since else 0.0
        return 2 * (self.waited_s + waiting_s) > of_s

    async def halt(self) -> bool:
        """Stop sending and wait until nothing is sent any more. Whether everything had been."""
        task, self.task = self.task, None
        if task is None:
            return True
        finished = task.done()
        task.cancel()
        await asyncio.wait((task,))
        return finished

    async def _pump(self, exchange: Exchange, body: BodyStream, within_us: int) -> None:
        """A body that fails takes the exchange with it: half a request must not be acted on."""
        try:
            while data := await self._more(exchange, body):
                self._remember(data)
                exchange.write(self._framed(data))
                del data  # 256 KiB of each slow call, if they stayed here until there are more
                if exchange.write_paused:
                    await exchange.drain()
        except BodyFailed as failure:
            self.failure = failure
            exchange.abort()
            return
        if self.chunked:
            exchange.write(self._end(body))
            if body.trailers:
                exchange.last_use = True
        exchange.await_answer(within_us / 1e6)

    async def _more(self, exchange: Exchange, body: BodyStream) -> bytes:
        self._waits_since = began = monotonic()
        data = await body.read()
        self._waits_since = 0.0
        if exchange.head is None:
            self.waited_s += monotonic() - began
        return data

    def _remember(self, data: bytes) -> None:
        assert self.body is not None
        if self.body.size <= self._keep_bytes:
            self._kept.append(data)
        else:
            self._kept.clear()

    def _framed(self, data: bytes) -> bytes:
        return chunk(data) if self.chunked else data

    def _end(self, body: BodyStream) -> bytes:
        return last_chunk(body.trailers) if self.chunked else b""


NOTHING_TO_SEND = Upload(None, chunked=False)
"""For all calls without a body."""
