"""Signals as bytes on a socket, for a process without an event loop."""

import signal
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

HEARD = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCHLD)


@contextmanager
def heard_signals() -> Iterator[socket.socket]:
    """Yield a non-blocking socket from which each signal received can be read as one byte, its number."""
    reader, writer = socket.socketpair()
    with reader, writer:
        reader.setblocking(False)
        writer.setblocking(False)
        before = {number: signal.signal(number, _nothing) for number in HEARD}
        old_fd = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        try:
            yield reader
        finally:
            signal.set_wakeup_fd(old_fd)
            for number, handler in before.items():
                signal.signal(number, handler)


@contextmanager
def held_signals(numbers: Sequence[int] = HEARD) -> Iterator[None]:
    """Nothing is delivered inside: a signal cannot run the parent's handler in a child that was just forked."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def forget_signals() -> None:
    """In a new child, while signals are held: nothing of the parent's is left."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    stop_at_once()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HEARD)


def stop_at_once() -> None:
    """Until an event loop hears them: SIGTERM and SIGINT end the process in order, for no call is under way yet.

    SIGHUP, SIGUSR1 and SIGUSR2 (reload, reopen logs, a new version) are never deadly, to what we start neither.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)


def keep_signals() -> list[int]:
    """From now on SIGTERM and SIGINT are only noted, in the list returned, until an event loop hears them.

    Whoever starts the loop raises them again then: to leave in the middle of its set-up would break it.
    """
    asked: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _frame: asked.append(number))
    return asked


def end_in_order() -> None:
    """From now on SIGTERM and SIGINT change nothing: this process ends, and leaves neither files nor a store behind.

    Python would else let them kill it with its last breath, and whoever watches it would see a failure.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


def _leave(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


def _nothing(_number: int, _frame: FrameType | None) -> None:
    """A handler must exist for the wakeup byte to be written."""
