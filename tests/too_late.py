"""Ends tests that take too long (`timeout`), also those that wait on uvloop, and also when they are being torn down.

pytest-timeout raises pytest's own failure from a signal's handler. uvloop logs that and waits on, for it lets no exception
through but those that end programs. And once a test has failed, the timer is off: its teardown may take for ever.
Between setup, test and teardown nothing is ended: there pytest itself is at work, such as at a report.
"""

import asyncio
import signal
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from pytest_timeout import is_debugging

TEARDOWN_S = 90.0
"""For the teardown of a test, and again for what is left of it when it was ended."""
BEGIN = pytest.StashKey[tuple[Callable[[float], None], float]]()
_running: list[str] = []


class TooLate(pytest.fail.Exception, SystemExit):
    """A failure for pytest, and for uvloop something that it has to let through."""


@pytest.hookimpl(tryfirst=True)
def pytest_timeout_set_timer(item: Any, settings: Any) -> bool:
    """In place of the timer of pytest-timeout, which calls `item.cancel_timeout` when all is over."""
    teardown_s = min(settings.timeout, TEARDOWN_S)

    def too_late(_signal: int, frame: FrameType | None) -> None:
        if _running and (settings.disable_debugger_detection or not is_debugging(frame)):  # else the timer comes again
            raise TooLate("\n  ".join([f"not over after {settings.timeout:g} s", *_waiting()]))

    def begin(time_s: float) -> None:
        signal.signal(signal.SIGALRM, too_late)
        signal.setitimer(signal.ITIMER_REAL, time_s, teardown_s)

    def cancel() -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)

    item.stash[BEGIN], item.cancel_timeout = (begin, teardown_s), cancel
    begin(settings.timeout)
    return True


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup() -> Generator[None, object, object]:
    with _runs("setup"):
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call() -> Generator[None, object, object]:
    with _runs("test"):
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    """Whatever became of the test, what it started gets some time to end."""
    if BEGIN in item.stash:
        begin, teardown_s = item.stash[BEGIN]
        begin(teardown_s)
    with _runs("teardown"):
        return (yield)


@contextmanager
def _runs(part: str) -> Iterator[None]:
    """What may be ended. In a test of pytest itself it is one in the other."""
    _running.append(part)
    try:
        yield
    finally:
        _running.pop()


def _waiting() -> Iterator[str]:
    """Where each task of the loop that runs has got to."""
    loop = asyncio._get_running_loop()
    for task in asyncio.all_tasks(loop) if loop else ():
        frames = _frames(task.get_coro())
        places = (f"{one.f_code.co_qualname} ({Path(one.f_code.co_filename).name}:{one.f_lineno})" for one in frames)
        yield f"{task.get_name()}: {' > '.join(places)}"


def _frames(waiting: Any) -> Iterator[FrameType]:
    """Of a coroutine, and of the coroutines that it awaits."""
    while waiting is not None:
        frame = getattr(waiting, "cr_frame", None) or getattr(waiting, "ag_frame", None)
        if frame is not None:
            yield frame
        waiting = getattr(waiting, "cr_await", None) or getattr(waiting, "ag_await", None)
