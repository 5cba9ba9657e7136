"""A private directory for the life of one gateway: the embedded store's socket, the workers' metric files.

It is removed at the end. A gateway that was killed leaves its directory behind; the next one on the host takes it
away. Who still lives is told by a lock on a file inside, which the kernel drops with the last process that holds it.

Somebody else may remove it, or what is in it, such as a cleaner of temporary files. The first process looks after it,
makes it again under its name, and has everybody put back what is theirs.
"""

import errno
import fcntl
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from gateway.observe.log.logger import event
from gateway.own_files import is_own, open_own
from gateway.supervisor.failure import StartFailed

PREFIX = "gateway-"
LOCK = "lock"
PLACE_BYTES = 60  # a unix socket's path may have 103 bytes (macOS); ours adds `/gateway-<pid>-<random>/store.sock`
MOST_TOLD = 20

PutBack = Callable[[], Sequence[str]]


class RuntimeDir:
    """One gateway's directory, in the process that has made it. `path` is the same for as long as the gateway lives."""

    def __init__(self, path: Path) -> None:
        """Makes it: under a name no sweeper looks at first, until it is locked. Raises OSError."""
        self.path = path
        self._parts: list[PutBack] = []
        self._others: list[Callable[[], None]] = []
        self._removed: list[str] = []
        self._reason = self._told_reason = ""
        self._lock = self._locked = -1
        self._make()

    def close(self) -> None:
        """Nobody is kept from removing it any more."""
        os.close(self._lock)
        os.close(self._locked)

    @property
    def ours(self) -> bool:
        """Whether its name leads to it. What somebody else has put in its place is to be left alone."""
        return _same(self.path, self._locked)

    def folder(self, name: str) -> Path:
        """One in it that is there from now on. Raises OSError."""
        folder = self.path / name
        folder.mkdir()
        self.holds(partial(_folder_there, folder))
        return folder

    def holds(self, put_back: PutBack) -> None:
        """Something else is in it: `put_back` looks for that, makes it again where it is gone, and returns the names of
        what was. It may raise OSError."""
        self._parts.append(put_back)

    def on_removed(self, ask: Callable[[], None]) -> None:
        """`ask` is called when anything was gone, and what can be made again here is there: others may have to."""
        self._others.append(ask)

    def look(self) -> None:
        """Have everything there again that somebody has removed; what cannot be had is tried again at the next look."""
        self._reason = ""
        removed = self._tried(self._put_back)
        for put_back in self._parts if self.ours else ():
            removed += self._tried(put_back)
        self._removed += removed
        for ask in self._others if removed else ():
            ask()

    def tell(self) -> None:
        """Of what `look` has found, once. Not from a thread beside an event loop: that is whose log it is."""
        removed, self._removed = self._removed, []
        told_reason, self._told_reason = self._told_reason, self._reason
        about = {"directory": str(self.path), "removed": removed[:MOST_TOLD]}
        if self._reason not in ("", told_reason):
            what = "The runtime directory was removed, or what is in it, and cannot be put back"
            event("runtime.gone", what, "error", reason=self._reason, **about)
        elif told_reason and not self._reason:
            event("runtime.restored", "The runtime directory is there again, and what was in it", "info", **about)
        elif removed:
            event(
                "runtime.gone",
                "What somebody has removed from the runtime directory is there again",
                "warning",
                **about,
            )

    def _tried(self, put_back: PutBack) -> list[str]:
        """What was gone. Whatever cannot be had of one part, the others come back."""
        try:
            return [*put_back()]
        except OSError as error:
            self._reason = self._reason or error.strerror or str(error)
            return []

    def _put_back(self) -> list[str]:
        if not self.ours:
            self._make()
            return [self.path.name]
        if _same(self.path / LOCK, self._lock):
            return []
        locked = os.dup(self._locked)
        try:
            self._use(_lock(self.path), locked)
        except OSError:
            os.close(locked)
            raise
        return [LOCK]

    def _make(self) -> None:
        """What somebody else has put in its place in the meantime is not used, and stays: then it cannot be made."""
        with suppress(FileNotFoundError):
            if self.path.lstat().st_uid != os.geteuid():
                raise PermissionError(errno.EPERM, "another user has taken its name")
        hidden = Path(tempfile.mkdtemp(prefix=f".{PREFIX}", dir=self.path.parent))
        fds: list[int] = []
        try:
            fds.append(_lock(hidden))
            fds.append(_keep_off_cleaners(hidden))
            hidden.rename(self.path)
        except OSError:
            shutil.rmtree(hidden, ignore_errors=True)
            for fd in fds:
                os.close(fd)
            raise
        self._use(*fds)

    def _use(self, lock: int, locked: int) -> None:
        before = self._lock, self._locked
        self._lock, self._locked = lock, locked
        for fd in before:
            if fd >= 0:
                os.close(fd)


@contextmanager
def runtime_dir() -> Iterator[RuntimeDir]:
    """A new directory, mode 0700, gone afterwards. Raises StartFailed when there is no place for one."""
    try:
        place = _place()
        _sweep(place)
        directory = RuntimeDir(place / f"{PREFIX}{os.getpid()}-{secrets.token_hex(4)}")
    except OSError as error:
        raise StartFailed(
            f"no place for runtime files: {error.strerror or error}; set TMPDIR to a writable directory"
        ) from error
    owner = os.getpid()
    try:
        yield directory
    finally:
        if os.getpid() == owner:
            shutil.rmtree(directory.path, ignore_errors=True)
        directory.close()


def _place() -> Path:
    """systemd's RuntimeDirectory=, or the place for temporary files: a session's own ($XDG_RUNTIME_DIR) goes when its
    user logs out, and the gateway may live on."""
    path = Path(os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0])
    if path.is_absolute() and _short(path) and os.access(path, os.W_OK | os.X_OK):
        return path
    temporary = Path(tempfile.gettempdir())
    return temporary if _short(temporary) else Path("/tmp")  # noqa: S108 - made 0700 below


def _short(path: Path) -> bool:
    return len(os.fsencode(path)) <= PLACE_BYTES


def _lock(directory: Path) -> int:
    """The descriptor of a new lock, which has its name when it is held: a sweeper would take the directory for one that
    was left behind."""
    hidden = directory / f".{LOCK}-{secrets.token_hex(4)}"
    lock = os.open(hidden, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        hidden.rename(directory / LOCK)
    except OSError:
        os.close(lock)
        raise
    return lock


def _keep_off_cleaners(directory: Path) -> int:
    """systemd-tmpfiles leaves out a directory that somebody has locked, with all that is in it, however old
    (tmpfiles.d(5)). Returns the descriptor that holds the lock."""
    locked = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    with suppress(OSError):  # it is a courtesy of cleaners, and none of every file system
        fcntl.flock(locked, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return locked


def _same(path: Path, fd: int) -> bool:
    """Whether this is what the descriptor was opened as, and no link to it."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(fd))
    except OSError:
        return False


def _folder_there(folder: Path) -> Sequence[str]:
    if folder.is_dir():
        return ()
    folder.mkdir()
    return (folder.name,)


def _sweep(place: Path) -> None:
    """Remove directories of our own user whose gateway is gone, also one that it was just making."""
    for path in (*place.glob(f"{PREFIX}*/{LOCK}"), *place.glob(f".{PREFIX}*/{LOCK}")):
        with suppress(OSError):
            if is_own(path.parent) and _abandoned(path):
                shutil.rmtree(path.parent, ignore_errors=True)


def _abandoned(path: Path) -> bool:
    lock = open_own(path, os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True
