"""What a process that serves does when it is told something by a signal, from its first moment to its last breath.

At every moment one of these says what SIGTERM and SIGINT do: `stop_at_once` while nothing serves, `keep_signals` while
an event loop is set up, `on_signal` while it runs, `end_in_order` when all is over. Python's own default, which would
kill the process and have whoever watches it see a failure, is never in force between them. Before them, while files
are read, it is: only what asks for something is passed over (`ignore_asking`).
"""

import signal
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

ENDING = (signal.SIGTERM, signal.SIGINT)
ASKING = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""For a reload, for log files opened anew, for a new version. Never deadly, neither to us nor to what we start."""


def stop_at_once() -> None:
    """Until an event loop hears them: SIGTERM and SIGINT end the process in order, for no call is under way yet."""
    for number in ENDING:
        signal.signal(number, _leave)
    ignore_asking()


def ignore_asking() -> None:
    """Until somebody hears them: what asks for a reload, new log files or a new version is passed over, not deadly."""
    for number in ASKING:
        signal.signal(number, signal.SIG_IGN)


def keep_signals() -> list[int]:
    """From now on SIGTERM and SIGINT are only noted, in the list returned, until `on_signal` hears them.

    Whoever starts the loop raises them again then: to leave in the middle of its set-up would break it.
    """
    asked: list[int] = []
    for number in ENDING:
        signal.signal(number, lambda number, _frame: asked.append(number))
    return asked


def on_signal(number: int, callback: Callable[[], object]) -> None:
    """From now on each such signal runs `callback()` in the loop that runs now, and nothing once that is closed.

    Not the loop's own `add_signal_handler`: when a loop closes, it gives back to Python what it heard, and the next
    signal kills a process that is about to end well.
    """
    import asyncio  # here: what is said of signals first is said before anything large is loaded

    loop = asyncio.get_running_loop()

    def heard(_number: int, _frame: FrameType | None) -> None:
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(callback)

    signal.signal(number, heard)


def end_in_order() -> None:
    """From now on no signal changes anything: this process ends, and leaves neither files nor a store behind."""
    for number in (*ENDING, *ASKING):
        signal.signal(number, signal.SIG_IGN)


def _leave(_number: int, _frame: FrameType | None) -> None:
    end_in_order()  # a second signal would interrupt what the first one has begun
    raise SystemExit(0)
