"""The file in which a worker keeps its metrics of one kind for all that add them up.

Its pages are memory. To write into one for which the disk has no room ends the process (SIGBUS), and a disk may be full
of logs. So room is made sure of before anything is written. What finds none, or no file, stays with the worker, and is
written as a whole as soon as that is over.
"""

import errno
import os
from contextlib import suppress

from prometheus_client import mmap_dict
from prometheus_client.mmap_dict import MmapedDict

_CANNOT_SAY = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)
_ENTRY_BYTES = 28  # at most, beside its key: that one's length and padding, value and time


class MetricsFile(MmapedDict):
    """In the place of prometheus_client's, whose values ask only for what is here."""

    def __init__(self, filename: str) -> None:
        self._fname = filename
        self._positions: dict[str, int] = {}
        self._used = self._capacity = 0
        self._begun = False
        self._has_room_for("")

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

    def _has_room_for(self, key: str) -> bool:
        if key in self._positions:
            return True
        if not self._begun and not self._begin():
            return False
        needed, capacity = self._used + len(key.encode()) + _ENTRY_BYTES, self._capacity
        while capacity < needed:
            capacity *= 2
        return capacity == self._capacity or _reserved(self._fname, capacity)

    def _begin(self) -> bool:
        if _reserved(self._fname, mmap_dict._INITIAL_MMAP_SIZE):
            with suppress(OSError):
                super().__init__(self._fname)  # type: ignore[no-untyped-call]
                self._begun = True
        return self._begun


def _reserved(path: str, size: int) -> bool:
    """Whether the file has so many bytes on the disk from now on; where nobody can say, one believes so."""
    if not hasattr(os, "posix_fallocate"):
        return True
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            os.posix_fallocate(file, 0, size)
        finally:
            os.close(file)
    except OSError as error:
        return error.errno in _CANNOT_SAY
    return True
