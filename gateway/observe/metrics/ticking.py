"""Work that is done every half second in one event loop, without keeping calls waiting for all of it."""

import asyncio
from collections.abc import Callable, Iterator

TICK_S = 0.5
_DONE = object()


class Ticking:
    """Does a piece of the work in each turn of the loop. The next tick is TICK_S after the last piece.

    late    told, at each tick, by how many seconds the loop ran its timer late
    pieces  the work of one tick: what is done between two of these is done in one turn
    ended   told when it is all done, with the loop's time when that tick began; and once at the start
    """

    def __init__(
        self, late: Callable[[float], None], pieces: Callable[[], Iterator[None]], ended: Callable[[float], None]
    ) -> None:
        self._late = late
        self._pieces = pieces
        self._ended = ended
        self._timer: asyncio.Handle | None = None

    def start(self) -> None:
        """Needs the running loop."""
        loop = asyncio.get_running_loop()
        self._ended(loop.time())
        self._tick_later(loop)

    def stop(self) -> None:
        """Whatever is left of a tick is left undone. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        self._go_on(loop, self._work(loop.time(), due))

    def _work(self, now: float, due: float) -> Iterator[None]:
        self._late(max(0.0, now - due))
        yield from self._pieces()
        self._ended(now)

    def _go_on(self, loop: asyncio.AbstractEventLoop, work: Iterator[None]) -> None:
        more = False
        try:
            more = next(work, _DONE) is not _DONE
        finally:  # a tick that fails must not be the last one
            if more:
                self._timer = loop.call_soon(self._go_on, loop, work)
            else:
                self._tick_later(loop)

    def _tick_later(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = loop.call_later(TICK_S, self._tick, loop, loop.time() + TICK_S)
