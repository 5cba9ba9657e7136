"""The files that workers count in, as their supervisor knows them: on a list beside them, and open.

Somebody may remove them. By the list whoever adds them up sees whether they are all there; and of a worker that ends
before it has put its file back, the counts are still known.
"""

import os
from collections.abc import Set
from contextlib import suppress
from pathlib import Path

from gateway.observe.metrics.files import reserved
from gateway.own_files import open_own, read_own

KINDS = ("counter", "histogram")
LIST = "list"

_held: dict[str, int] = {}


def listed(folder: Path) -> Set[str]:
    """The names of all that ought to be there. Raises OSError."""
    return {*read_own(folder / LIST).decode(errors="replace").split()}


def is_listed(folder: Path) -> bool:
    """Whether the list has all that is held, and no more."""
    with suppress(OSError):
        return listed(folder) == {*_held}
    return False


def write_list(folder: Path) -> None:
    """As it is to be from now on, in its own place: to end with less of it needs no room. Nobody may read it meanwhile.
    Where there is no room for more, it stays as it is. Raises OSError."""
    path, content = folder / LIST, " ".join(sorted(_held)).encode()
    anew = not path.exists()
    file = open_own(path, os.O_CREAT | os.O_RDWR)
    try:
        if not content or reserved(file, len(content)):
            os.pwrite(file, content, 0)
            os.ftruncate(file, len(content))
        elif anew:
            path.unlink()  # an empty one would say that nothing is missing
    finally:
        os.close(file)


def hold(folder: Path) -> None:
    """Whatever is there by now; what was there before stays held, though somebody has removed it."""
    for path in folder.glob("*.db"):
        if path.name.startswith(KINDS):
            with suppress(OSError):
                _hold(path)


def _hold(path: Path) -> None:
    before = _held.get(path.name)
    if before is not None and os.path.samestat(path.lstat(), os.fstat(before)):
        return
    _held[path.name] = open_own(path, os.O_RDONLY)
    if before is not None:
        os.close(before)


def content(path: Path) -> bytes:
    """What was counted there, b"" if nobody knows. Raises OSError."""
    with suppress(FileNotFoundError):
        return read_own(path)
    held = _held.get(path.name)
    return b"" if held is None else os.pread(held, os.fstat(held).st_size, 0)


def let_go(*names: str) -> None:
    """These are rightly gone."""
    for name in names:
        if (held := _held.pop(name, None)) is not None:
            os.close(held)


def let_all_go() -> None:
    """In a process that was forked."""
    let_go(*_held)
