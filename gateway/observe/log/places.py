"""Whether logs can be written where they are to go. Lines that cannot be are dropped later, for calls must go on."""

import errno
import os
from pathlib import Path

from gateway.observe.log.writer import open_file
from gateway.settings import Logging

FILES = ("access", "connection_errors")
"""Keys of `logging` that may name a file."""


def unwritable(logging: Logging) -> str:
    """Which file cannot be written, and why; "" = all can. Makes those that are not there."""
    for key in FILES:
        place = getattr(logging, key)
        if place not in ("stdout", "stderr", "off"):
            try:
                _try_to_append(Path(place))
            except OSError as error:
                return f"cannot write the log {place} (logging.{key}): {error.strerror}"
    return ""


def _try_to_append(path: Path) -> None:
    """Raises OSError. A named pipe is not opened: that waits for a reader, and who reads already would see it end."""
    if not path.is_fifo():
        os.close(open_file(path))
    elif not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
