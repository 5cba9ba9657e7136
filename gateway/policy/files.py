"""Finding and reading files, bounded: what cannot be text of a sensible size is refused before it is parsed."""

import os
import re
import stat
import sys
from collections.abc import Iterable
from pathlib import Path

from gateway.policy.findings import Findings, Where
from gateway.policy.shipped import shipped

MAX_FILE_BYTES = 4 * 1024 * 1024
STDIN = Path("-")
_SUFFIXES = (".yaml", ".yml")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")


def policy_files(paths: Iterable[Path], findings: Findings) -> list[Path]:
    """The files that `paths` stand for: a directory for its `*.yaml` and `*.yml` files by name, not recursively."""
    files: dict[Path, None] = {}
    for path in paths:
        try:
            found = _listed(path) if path.is_dir() else [path]
        except OSError as error:
            findings.error(Where(str(path)), "unreadable", f"cannot be read: {error.strerror}")
            continue
        if not found:
            message = "the directory holds no *.yaml or *.yml file"
            findings.error(Where(str(path)), "no-files", message, _below(path))
        files.update(dict.fromkeys(found))
    return list(files)


def _listed(directory: Path) -> list[Path]:
    """Hidden entries are left out: editors' backups, and the `..data` directories of a mounted ConfigMap.

    So are pipes, sockets and devices, which may have nothing to say for ever.
    """
    entries = (entry for entry in directory.iterdir() if not entry.name.startswith("."))
    return sorted(entry for entry in entries if entry.suffix in _SUFFIXES and not _something_else(entry))


def passed_over(paths: Iterable[Path], used: Iterable[str]) -> list[Path]:
    """Directories in those among `paths` that hold such files, too, which nobody reads: somebody may think they count.

    used  files that policies name: who keeps such there knows what is read. Nor is it told of what we ship
    """
    given = list(paths)
    directories, files = filter(is_directory, given), [*map(Path, used), *filter(is_regular, given)]
    known = {place for file in files for place in (_real(file.parent), *_real(file.parent).parents)}
    known |= {_real(path) for path in given}
    found: dict[Path, Path] = {}
    for directory in directories:
        for inner in () if directory.samefile(shipped("policies")) else _inner(directory):
            if _real(inner) not in known:
                found.setdefault(_real(inner), inner)
    return sorted(found.values())


def _below(directory: Path) -> str:
    """A hint at directories in this one that hold such files; "" if there is none, or it cannot be seen."""
    found = _inner(directory)
    return f"it is not looked for below: {', '.join(map(str, found[:3]))}" if found else ""


def _inner(directory: Path) -> list[Path]:
    """Directories in this one that hold such files, as far as can be seen; links to others come last."""
    try:
        inner = [entry for entry in directory.iterdir() if is_directory(entry) and not entry.name.startswith(".")]
    except OSError:
        return []
    return [entry for entry in sorted(inner, key=lambda entry: (entry.is_symlink(), entry)) if _holds_some(entry)]


def _holds_some(directory: Path) -> bool:
    try:
        return bool(_listed(directory))
    except OSError:
        return False


def _real(path: Path) -> Path:
    """Where it is, whatever links lead there; `Path.resolve` raises for those in a circle."""
    return Path(os.path.realpath(path))


def _something_else(entry: Path) -> bool:
    """Not of a link that leads nowhere, nor of what may not be looked at: its reader will say so."""
    return _mode(entry) != 0 and not is_regular(entry)


def is_regular(path: Path) -> bool:
    """Whether it is a file, as far as can be seen."""
    return stat.S_ISREG(_mode(path))


def is_directory(path: Path) -> bool:
    """Whether it is one, as far as can be seen."""
    return stat.S_ISDIR(_mode(path))


def is_pipe(path: Path) -> bool:
    """Whether it is one, as far as can be seen."""
    return stat.S_ISFIFO(_mode(path))


def absent(path: Path) -> bool:
    """Whether there is nothing at this path. Of what may not be looked at it is not known: its reader will say so."""
    return _mode(path) == 0 and not hindrance(path)


def hindrance(path: Path) -> str:
    """Why nobody can say whether there is something at this path, "" if it can be said."""
    try:
        path.stat()
    except OSError as error:
        return "" if isinstance(error, FileNotFoundError | NotADirectoryError) else error.strerror or "input error"
    return ""


def _mode(path: Path) -> int:
    """What kind of thing it is, 0 when it cannot be looked at."""
    try:
        return path.stat().st_mode
    except OSError:
        return 0


def shown(path: Path) -> str:
    """The path as findings name it."""
    return "<stdin>" if path == STDIN else str(path)


def read_text(path: Path, findings: Findings, held: bytes | None = None) -> str | None:
    """The text of a file, None (and a finding) when it is not UTF-8 text of at most MAX_FILE_BYTES.

    held  what it would hold, if it were there
    """
    file = shown(path)
    findings.lines[file] = ()
    try:
        content = _read_bytes(path) if held is None else held
    except OSError as error:
        code = "not-found" if isinstance(error, FileNotFoundError) else "unreadable"
        findings.error(Where(file), code, f"cannot be read: {error.strerror or 'input error'}")
        return None
    if len(content) > MAX_FILE_BYTES:
        findings.error(Where(file), "too-large", f"larger than {MAX_FILE_BYTES // 1024 // 1024} MiB")
        return None
    return _decode(content, file, findings)


def _read_bytes(path: Path) -> bytes:
    """One byte more than allowed at most, so that endless input ends too."""
    if path == STDIN:
        return sys.stdin.buffer.read(MAX_FILE_BYTES + 1)
    with path.open("rb") as file:
        return file.read(MAX_FILE_BYTES + 1)


def _decode(content: bytes, file: str, findings: Findings) -> str | None:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = error.object[: error.start].decode("utf-8")
        byte = error.object[error.start]
        findings.error(_end_of(before, file), "not-utf8", f"not UTF-8 text: byte 0x{byte:02x}", "save it as UTF-8")
        return None
    findings.lines[file] = text.splitlines()
    control = _CONTROL.search(text)
    if control is not None:
        where = _end_of(text[: control.start()], file)
        findings.error(where, "control-character", f"control character U+{ord(control[0]):04X}")
        return None
    return text


def _end_of(before: str, file: str) -> Where:
    """The place of the character that follows this text."""
    return Where(file, before.count("\n") + 1, len(before) - before.rfind("\n"))
