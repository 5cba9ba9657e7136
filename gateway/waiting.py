"""Waiting for what other tasks do, and for their end."""

import asyncio
from contextlib import suppress

CANCEL_AGAIN_S = 0.1


async def happens_within(event: asyncio.Event, most_s: float) -> bool:
    """Wait until it is set, for so long at most; whether it is.

    `asyncio.wait_for` may lose a cancellation that comes together with what it waits for.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(most_s):
            await event.wait()
    return event.is_set()


async def end(task: "asyncio.Task[None]") -> None:
    """Cancel until it has ended: a cancellation that comes together with what a task waits for may get lost in a
    library on the way, and the task would go on for ever."""
    while not task.done():
        task.cancel()
        await asyncio.wait((task,), timeout=CANCEL_AGAIN_S)
