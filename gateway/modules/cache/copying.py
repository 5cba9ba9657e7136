"""An upstream's answer on its way to a caller, copied on the way as far as it is to be kept."""

import copy
from collections.abc import Callable
from typing import Protocol

from gateway.core.http.framing import Fields
from gateway.wire.body import BodyFailed, Readable
from gateway.wire.response_head import ResponseHead


class Answered(Protocol):
    """What is relayed: see `upstream.exchange.Exchange`."""

    @property
    def head(self) -> ResponseHead | None: ...

    @property
    def whole(self) -> bytes | None: ...

    @property
    def body(self) -> Readable | None: ...

    @property
    def transport(self) -> object: ...

    def release(self) -> None: ...

    def abort(self) -> None: ...


class Copy:
    """A body that is read as before; when the last byte has been, `keep` gets all of it.

    lost  called instead when that will never be: the body is cut, too long, or has trailers
    """

    def __init__(
        self, body: Readable, most_bytes: int, keep: Callable[[bytes], None], lost: Callable[[], None]
    ) -> None:
        self._body = body
        self._lost = lost
        self._most_bytes = most_bytes
        self._keep: Callable[[bytes], None] | None = keep
        self._pieces: list[bytes] = []
        self._size = 0

    @property
    def complete(self) -> bool:
        return self._body.complete

    @property
    def trailers(self) -> Fields:
        return self._body.trailers

    def take(self) -> bytes:
        try:
            return self._copied(self._body.take())
        except BodyFailed:
            self._stop()
            raise

    async def read(self) -> bytes:
        try:
            return self._copied(await self._body.read())
        except BodyFailed:
            self._stop()
            raise

    def _stop(self) -> None:
        self._keep = None
        self._pieces.clear()
        self._lost()

    def _copied(self, data: bytes) -> bytes:
        if self._keep is None:
            return data
        self._size += len(data)
        self._pieces.append(data)
        if self._size > self._most_bytes or (self._body.complete and self._body.trailers):
            self._stop()
        elif self._body.complete:
            keep, self._keep = self._keep, None
            keep(b"".join(self._pieces))
        return data


class Passed:
    """Takes the place of an exchange for whoever relays it.

    said   a field that the head has besides, for the caller
    keep   gets the whole body, if that is at most `most_bytes` long; None = it is not to be kept
    lost   see `Copy`; ended: called when nobody reads any more
    """

    def __init__(
        self,
        exchange: Answered,
        said: tuple[bytes, bytes],
        keep: Callable[[bytes], None] | None = None,
        most_bytes: int = 0,
        lost: Callable[[], None] = lambda: None,
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        assert exchange.head is not None, "relayed is what has been answered"
        self._exchange = exchange
        self._ended = ended
        self.head = copy.copy(exchange.head)
        self.head.fields = (*exchange.head.fields, said)
        self.head.remembered = None
        self.whole = exchange.whole
        body = exchange.body
        self.body: Readable | None = body if body is None or keep is None else Copy(body, most_bytes, keep, lost)
        if keep is not None and self.whole is not None:
            keep(self.whole)

    @property
    def transport(self) -> object:
        """None = there is no socket to give back."""
        return self._exchange.transport

    def release(self) -> None:
        """The answer has been passed on: give its socket back."""
        self._ended()
        self._exchange.release()

    def abort(self) -> None:
        """Nobody wants the rest of the answer: cut its socket."""
        self._ended()
        self._exchange.abort()
