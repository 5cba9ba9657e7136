"""Signals as bytes on a socket, for a process without an event loop, and what a fork does with them."""

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from gateway.signals import ASKING, ENDING, stop_at_once

HEARD = (*ENDING, *ASKING, signal.SIGCHLD)


@contextmanager
def heard_signals() -> Iterator[socket.socket]:
    """Yield a non-blocking socket from which each signal received can be read as one byte, its number.

    Afterwards signals still do nothing else than they did inside: see `gateway.signals.end_in_order`.
    """
    reader, writer = socket.socketpair()
    with reader, writer:
        reader.setblocking(False)
        writer.setblocking(False)
        old_fd = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)  # first, or one between were lost
        try:
            for number in HEARD:
                signal.signal(number, _nothing)
            yield reader
        finally:
            signal.set_wakeup_fd(old_fd)


@contextmanager
def held_signals() -> Iterator[None]:
    """Nothing is delivered inside: a signal cannot run the parent's handler in a child that was just forked."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HEARD)
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


def _nothing(_number: int, _frame: FrameType | None) -> None:
    """A handler must exist for the wakeup byte to be written."""
