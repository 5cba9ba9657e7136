"""Whether a log ends in the middle of a line: who wrote there was killed, or the disk was full.

Whoever writes next has to end that line first, or its own would be joined to it. A regular file shows how it ends. A
pipe does not: who writes there leaves a mark meanwhile, in memory that all processes of a gateway share.
"""

import mmap
import os
import stat
from contextlib import suppress

_marks: "bytearray | mmap.mmap" = bytearray(2)  # of stdout, and of stderr if that leads elsewhere


def share_marks() -> None:
    """From now on this process and those that it forks later know of each other's broken lines."""
    global _marks  # noqa: PLW0603 - one per gateway, like standard output itself
    _marks = mmap.mmap(-1, len(_marks))


class Midline:
    """How one destination ends, asked and told by whoever writes there.

    stream  its file descriptor if all processes of a gateway have it; None = a file that each opens itself
    """

    def __init__(self, stream: int | None) -> None:
        self._stream = stream
        self._mark = bytearray(1)
        self._reading = -1

    def watch(self, fd: int) -> None:
        """The destination has been opened. Not while it is locked: what is closed here would free the lock."""
        self.forget()
        with suppress(OSError):  # a file that may not be read
            if stat.S_ISREG(os.fstat(fd).st_mode):
                self._reading = os.open(f"/dev/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)

    def forget(self) -> None:
        """It has been closed."""
        reading, self._reading = self._reading, -1
        if reading >= 0:
            os.close(reading)

    def is_at(self, locked: bool) -> bool:
        """Whether the next byte would go on with somebody's line.

        locked  nobody else writes now; without that, only lines that this process broke are known
        """
        if locked and self._reading >= 0:
            with suppress(OSError):
                size = os.fstat(self._reading).st_size
                return size > 0 and os.pread(self._reading, 1, size - 1) != b"\n"
        marks, index = self._place(locked)
        return bool(marks[index])

    def leave(self, locked: bool, broken: bool) -> None:
        """Tell whoever writes next. Before a write: as it will be if this process does not live to say how it went."""
        marks, index = self._place(locked)
        marks[index] = broken

    def _place(self, locked: bool) -> "tuple[bytearray | mmap.mmap, int]":
        if self._stream is None or not locked:
            return self._mark, 0
        return _marks, 0 if same_file(1, self._stream) else 1


def same_file(one: int, other: int) -> bool:
    """Whether two descriptors lead to one file or pipe."""
    try:
        return os.path.sameopenfile(one, other)
    except OSError:  # one of them is closed
        return False
