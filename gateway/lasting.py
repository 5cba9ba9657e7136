"""What a worker does beside its calls for as long as it lives. Nobody waits for it, so nobody would notice its end.

After an error that nothing in it expects, such as nonsense from a server, it begins anew, and the error is told.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import ParamSpec

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0
"""Before it begins anew: twice as long each time, until it has lasted for longer than the longest."""

Arguments = ParamSpec("Arguments")


def lasting(what: str, work: Callable[[], Awaitable[None]]) -> "asyncio.Task[None]":
    """Do this in the background until it returns, or the task is cancelled. Needs the running loop.

    what  names the task, and says what failed
    """
    return asyncio.create_task(_go_on(what, work), name=what)


async def _go_on(what: str, work: Callable[[], Awaitable[None]]) -> None:
    loop, pause_s = asyncio.get_running_loop(), FIRST_PAUSE_S
    while True:
        began_s = loop.time()
        try:
            return await work()
        except Exception as error:
            unheard(what, error)
            del error  # it holds its traceback, and that all that it had in hand
        if loop.time() - began_s > LONGEST_PAUSE_S:
            pause_s = FIRST_PAUSE_S
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


def unheard(what: str, error: BaseException) -> None:
    """Tell of an error that nobody else hears of. `what`: a constant; it is shown. Needs the running loop."""
    asyncio.get_running_loop().call_exception_handler({"message": what, "exception": error, "work": what})


def apart(what: str, tell: Callable[Arguments, object]) -> Callable[Arguments, None]:
    """`tell`, for who has to go on whatever is made of what it tells: errors are told as `unheard`."""
    return partial(_apart, what, tell)


def _apart(what: str, tell: Callable[Arguments, object], *args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
    try:
        tell(*args, **kwargs)
    except Exception as error:
        unheard(what, error)
