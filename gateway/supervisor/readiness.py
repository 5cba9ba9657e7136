"""How workers tell their supervisor that they serve: a pipe that is there before the first of them is forked."""

import os
from collections.abc import Iterator
from struct import Struct

_READY = Struct(">H?")  # the worker's index, and whether it can use the store
_AT_ONCE = 1_024


class Readiness:
    """Both ends, for the supervisor and, after a fork, for a worker. `fd` can be read when somebody has told."""

    def __init__(self) -> None:
        self.fd, self._telling_fd = os.pipe()

    def told(self) -> Iterator[tuple[int, bool]]:
        """(index, whether it can use the store) of those who have told since the last time. Waits for at least one."""
        return _READY.iter_unpack(os.read(self.fd, _AT_ONCE * _READY.size))

    def only_tell(self) -> None:
        """For a worker: the end that is read is the supervisor's."""
        os.close(self.fd)

    def tell(self, index: int, store_up: bool) -> None:
        """Called in a worker: it serves calls."""
        os.write(self._telling_fd, _READY.pack(index, store_up))
