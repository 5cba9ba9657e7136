"""Standard input, output and error as whoever started the command left them."""

import io
import os
import signal
import sys
from typing import NoReturn


def take_any_text() -> None:
    """What the locale's encoding has no letters for (names of files, words of policies) is printed as escapes."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")  # as Python does with standard error


def open_standard_streams() -> None:
    """Give the null device the numbers 0, 1 and 2 where they are free.

    Else the next socket or file gets such a number, and what is printed or logged is written into it. So this comes
    before anything else is imported: libffi, below `ctypes`, holds a file open.
    """
    for number, mode in enumerate(("r", "w", "w")):
        if _is_closed(number):
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # takes the lowest free number: this one
            name = ("stdin", "stdout", "stderr")[number]
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))


def give_up_unwritten() -> None:
    """What was printed and could not be written (a full disk) is given up, for the process is about to end.

    From CPython 3.14 on it is kept; else the interpreter tries once more, and makes the exit code 120.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def end_unread() -> NoReturn:
    """Whoever read what is printed has left (`| head -1`): end silently by SIGPIPE, as other commands do.

    Python ignores that signal from the start, for the sake of sockets.
    """
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.raise_signal(signal.SIGPIPE)
    os._exit(128 + signal.SIGPIPE)  # who started it has the signal blocked


def _is_closed(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return True
    return False
