"""Tasks that go on for as long as a store is open."""

import asyncio

CANCEL_AGAIN_S = 0.1


async def end(task: "asyncio.Task[None]") -> None:
    """Cancel until it has ended: a cancellation that comes together with what a task waits for may get lost in a
    library on the way, and the task would go on for ever."""
    while not task.done():
        task.cancel()
        await asyncio.wait((task,), timeout=CANCEL_AGAIN_S)
