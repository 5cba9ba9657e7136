"""Files that processes of one gateway leave for each other in its private directory.

Where somebody removes the directory from a place that others may write to, they can make one of its name. Nothing in it
is read then, because it would be run, or trusted; and nothing is written, wherever the names in it lead to.
"""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path


def is_own(directory: Path) -> bool:
    """Whether it is a directory of this user, and no link to one."""
    try:
        _check_own(directory, directory.lstat(), stat.S_ISDIR)
    except OSError:
        return False
    return True


def read_own(path: Path) -> bytes:
    """What one of them has written. Raises OSError, also where `open_own` does."""
    with os.fdopen(open_own(path, os.O_RDONLY), "rb") as file:
        return file.read()


def open_own(path: Path, flags: int) -> int:
    """A descriptor of a file, for this user only if it is made. Raises OSError, also for a link, for what is no file,
    and for what another user has made, the directory included."""
    _check_own(path.parent, path.parent.lstat(), stat.S_ISDIR)
    file = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)  # a pipe would have us wait
    try:
        _check_own(path, os.fstat(file), stat.S_ISREG)
    except OSError:
        os.close(file)
        raise
    return file


def _check_own(path: Path, about: os.stat_result, expected: Callable[[int], bool]) -> None:
    if about.st_uid != os.geteuid():
        raise PermissionError(errno.EPERM, "another user has made this", str(path))
    if not expected(about.st_mode):
        raise OSError(errno.EINVAL, "it is something else than was made there", str(path))
