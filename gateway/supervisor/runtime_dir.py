"""A private directory for the life of one gateway: the embedded store's socket, the workers' metric files.

It is removed at the end. A gateway that was killed leaves its directory behind; the next one on the host takes it
away. Who still lives is told by a lock on a file inside, which the kernel drops with the last process that holds it.
"""

import fcntl
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gateway.supervisor.failure import StartFailed

PREFIX = "gateway-"
LOCK = "lock"
PLACE_BYTES = 60  # a unix socket's path may have 103 bytes (macOS); ours adds `/gateway-<pid>-<random>/store.sock`


@contextmanager
def runtime_dir() -> Iterator[Path]:
    """A new directory, mode 0700, gone afterwards. Raises StartFailed when there is no place for one."""
    try:
        place = _place()
        _sweep(place)
        directory, lock = _make(place)
    except OSError as error:
        raise StartFailed(
            f"no place for runtime files: {error.strerror or error}; set TMPDIR to a writable directory"
        ) from error
    owner = os.getpid()
    try:
        yield directory
    finally:
        if os.getpid() == owner:
            shutil.rmtree(directory, ignore_errors=True)
        os.close(lock)


def _place() -> Path:
    """systemd's RuntimeDirectory=, the session's runtime directory, or the place for temporary files."""
    for name in ("RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR"):
        path = Path(os.environ.get(name, "").partition(":")[0])
        if path.is_absolute() and _short(path) and os.access(path, os.W_OK | os.X_OK):
            return path
    temporary = Path(tempfile.gettempdir())
    return temporary if _short(temporary) else Path("/tmp")  # noqa: S108 - made 0700 below


def _short(path: Path) -> bool:
    return len(os.fsencode(path)) <= PLACE_BYTES


def _make(place: Path) -> tuple[Path, int]:
    """Make and lock it under a name no sweeper looks at, then give it its real name."""
    hidden = Path(tempfile.mkdtemp(prefix=f".{PREFIX}", dir=place))
    lock = os.open(hidden / LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    directory = place / f"{PREFIX}{os.getpid()}-{secrets.token_hex(4)}"
    hidden.rename(directory)
    return directory, lock


def _sweep(place: Path) -> None:
    """Remove directories of our own user whose gateway is gone."""
    for path in place.glob(f"{PREFIX}*/{LOCK}"):
        with suppress(OSError):
            if path.stat().st_uid == os.getuid() and _abandoned(path):
                shutil.rmtree(path.parent, ignore_errors=True)


def _abandoned(path: Path) -> bool:
    lock = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True
