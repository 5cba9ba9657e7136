"""Waiting for what other tasks do, and for their end."""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

CANCEL_AGAIN_S = 0.1
HELD_UP_S = 0.005
"""A timer that comes so late says that this process was held up (a busy host, a paused one): what is waited for may be
lying in a socket, and uvloop runs its timers before it looks."""
LOOK_S = 0.1


async def happens_within(event: asyncio.Event, most_s: float) -> bool:
    """Wait until it is set, for so long at most; whether it is.

    `asyncio.wait_for` may lose a cancellation that comes together with what it waits for.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(most_s):
            await event.wait()
    return event.is_set()


@asynccontextmanager
async def in_time(seconds: float) -> AsyncIterator[None]:
    """Raises TimeoutError when what is done in it takes longer. If this process was held up then, it may take as much
    longer to hear what came meanwhile, but no longer than `seconds` (LOOK_S at least)."""
    loop = asyncio.get_running_loop()
    due = loop.time() + seconds

    def over() -> None:
        late_s = loop.time() - due
        more_s = max(LOOK_S, min(late_s, seconds)) if late_s >= HELD_UP_S else 0
        bound.reschedule(loop.time() + more_s)

    timer = loop.call_at(due, over)
    try:
        async with asyncio.timeout(None) as bound:
            yield
    finally:
        timer.cancel()


class Waits:
    """Waits that end early when nobody has the time for them any more."""

    def __init__(self) -> None:
        self._until: dict[asyncio.Future[None], float] = {}
        self._bounds: set[asyncio.Timeout] = set()
        self._latest_s = math.inf

    @asynccontextmanager
    async def within(self, seconds: float) -> AsyncIterator[None]:
        """Raises TimeoutError when what is done in it takes longer, or is not done when `cut` leaves no more time."""
        until = min(asyncio.get_running_loop().time() + seconds, self._latest_s)
        async with asyncio.timeout_at(until) as bound:
            self._bounds.add(bound)
            try:
                yield
            finally:
                self._bounds.discard(bound)

    async def sleep(self, seconds: float) -> None:
        """For so long; less, if `cut` has ended it."""
        loop = asyncio.get_running_loop()
        over = loop.create_future()
        self._until[over] = loop.time() + seconds
        timer = loop.call_later(seconds, _let_go, over)
        try:
            await over
        finally:
            timer.cancel()
            del self._until[over]

    def cut(self, most_s: float) -> None:
        """End those that would last longer than so many seconds from now on: at once, where it is known that they
        would; `within`, then."""
        self._latest_s = latest = asyncio.get_running_loop().time() + most_s
        for over, until in self._until.items():
            if until >= latest:
                _let_go(over)
        for bound in self._bounds:
            if not bound.expired() and (bound.when() or latest) > latest:
                bound.reschedule(latest)


def _let_go(over: "asyncio.Future[None]") -> None:
    if not over.done():
        over.set_result(None)


async def end(task: "asyncio.Task[None] | None") -> None:
    """Cancel until it has ended, if there is one: a cancellation that comes together with what a task waits for may get
    lost in a library on the way, and the task would go on for ever."""
    while task is not None and not task.done():
        task.cancel()
        await asyncio.wait((task,), timeout=CANCEL_AGAIN_S)
