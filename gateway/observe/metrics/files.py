"""The file in which a worker keeps its metrics of one kind for all that add them up.

Its pages are memory. To write into one for which the disk has no room ends the process (SIGBUS), and a disk may be full
of logs. So room is made sure of before anything is written. What finds none, or no file, stays with the worker, and is
written as a whole as soon as that is over.

Somebody may remove it: its pages live on, but nobody finds them any more. `put_back` gives them a name again.
"""

import errno
import os
import struct
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from weakref import WeakSet

from prometheus_client import mmap_dict
from prometheus_client.mmap_dict import MmapedDict

from gateway.own_files import is_own, open_own

_CANNOT_SAY = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)
_ENTRY_BYTES = 28  # at most, beside its key: that one's length and padding, value and time
UNREADABLE = (OSError, RuntimeError, ValueError, struct.error)
"""What reading raises where something else is in a file."""
_files: "WeakSet[MetricsFile]" = WeakSet()


def is_own_folder(folder: Path) -> bool:
    """Whether workers' files are in there: it, and what it is in, are not what somebody else has put in their place."""
    return is_own(folder) and not folder.parent.is_symlink()


def put_back() -> Sequence[str]:
    """Have those of this process's files there again that somebody has removed, with all that was counted. Their
    names."""
    return sorted(file.name for file in _files if file.pid == os.getpid() and file.put_back())


class MetricsFile(MmapedDict):
    """In the place of prometheus_client's, whose values ask only for what is here."""

    def __init__(self, filename: str) -> None:
        self._fname = filename
        self._positions: dict[str, int] = {}
        self._used = self._capacity = 0
        self._begun = False
        self._kept = b""
        self.pid = os.getpid()
        _files.add(self)
        self._has_room_for("")

    @property
    def name(self) -> str:
        """Without its folder."""
        return Path(self._fname).name

    @property
    def gone(self) -> bool:
        """Whether somebody has removed it."""
        return self._begun and not os.access(self._fname, os.F_OK)

    def put_back(self) -> bool:
        """Whether it was gone. What was counted is in it again, now or when there is room: who counts nothing more has
        to ask again."""
        if not self.gone:
            if self._kept:
                self._begin()
            return False
        self._kept = self._m[: self._used]
        self.close()
        self._begin()
        return True

    def read_value(self, key: str) -> tuple[float, float]:
        """(value, time) of an entry, which is made if there is none."""
        if not self._has_room_for(key):
            return 0.0, 0.0
        value: tuple[float, float] = super().read_value(key)  # type: ignore[no-untyped-call]
        return value

    def write_value(self, key: str, value: float, timestamp: float) -> None:
        """Nothing is done while there is no room: whoever calls knows the value, and comes again with the next one."""
        if self._has_room_for(key):
            super().write_value(key, value, timestamp)  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """Idempotent."""
        if self._begun:
            super().close()  # type: ignore[no-untyped-call]
            self._begun, self._positions = False, {}

    def _has_room_for(self, key: str) -> bool:
        if key in self._positions:
            return True
        if not self._begun and not self._begin():
            return False
        needed, capacity = self._used + len(key.encode()) + _ENTRY_BYTES, self._capacity
        while capacity < needed:
            capacity *= 2
        return capacity == self._capacity or reserved(self._f.fileno(), capacity)

    def _begin(self) -> bool:
        """What was kept is in it before it has its name: others read it."""
        path = Path(f"{self._fname}~" if self._kept else self._fname)
        with suppress(*UNREADABLE):
            size = max(mmap_dict._INITIAL_MMAP_SIZE, self._capacity)
            if is_own_folder(path.parent) and _made(path, size, self._kept):
                path.rename(self._fname)
                super().__init__(self._fname)  # type: ignore[no-untyped-call]
                self._begun, self._kept = True, b""
        if not self._begun:
            self._positions = {}
        return self._begun


def _made(path: Path, size: int, content: bytes) -> bool:
    """Whether there is a file of this size that begins with the content. Raises OSError."""
    file = open_own(path, os.O_RDWR | os.O_CREAT)
    try:
        return reserved(file, size) and os.pwrite(file, content, 0) == len(content)
    finally:
        os.close(file)


def reserved(file: int, size: int) -> bool:
    """Whether the file has so many bytes on the disk from now on; where nobody can say, one believes so."""
    if not hasattr(os, "posix_fallocate"):
        return True
    try:
        os.posix_fallocate(file, 0, size)
    except OSError as error:
        return error.errno in _CANNOT_SAY
    return True
