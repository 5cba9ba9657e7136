"""Work that is done every half second in one event loop, without keeping calls waiting for all of it."""

import asyncio
from collections.abc import Callable, Iterator

TICK_S = 0.5


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
        self._end(loop, loop.time())

    def stop(self) -> None:
        """Whatever is left of a tick is left undone. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        now = loop.time()
        self._late(max(0.0, now - due))
        self._go_on(loop, now, self._pieces())

    def _go_on(self, loop: asyncio.AbstractEventLoop, began: float, pieces: Iterator[None]) -> None:
        for _ in pieces:
            self._timer = loop.call_soon(self._go_on, loop, began, pieces)
            return
        self._end(loop, began)

    def _end(self, loop: asyncio.AbstractEventLoop, began: float) -> None:
        self._ended(began)
        self._timer = loop.call_later(TICK_S, self._tick, loop, loop.time() + TICK_S)
