"""`.env` files: `NAME=value` lines, the common part of what shells, Docker and systemd read alike."""

from collections.abc import Mapping
from pathlib import Path

from gateway.policy.variables import Variables


class BadEnvFile(Exception):
    """The text is `file:line: what is wrong`."""


def environment(process: Mapping[str, str], env_file: Path | None) -> Variables:
    """The process environment over the file's; without a file named, `./.env` if there is one. Raises BadEnvFile."""
    path = env_file or _found(Path(".env"))
    entries = _entries(path) if path else {}
    values = {name: value for name, (value, _) in entries.items()}
    return Variables(process, values, {name: f"{path}:{number}" for name, (_, number) in entries.items()})


def _entries(path: Path) -> dict[str, tuple[str, int]]:
    """The values with their lines. Blank lines and lines that start with `#` are skipped; one pair of quotes around a
    value is removed; nothing is expanded. Raises BadEnvFile, also when the file cannot be read."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise BadEnvFile(f"{path}: cannot read: {reason}") from error
    found: dict[str, tuple[str, int]] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        name, equals, value = stripped.removeprefix("export ").partition("=")
        if not equals or not name.strip().isidentifier():
            raise BadEnvFile(f"{path}:{number}: expected NAME=value")
        found[name.strip()] = _unquoted(value.strip()), number
    return found


def _found(path: Path) -> Path | None:
    """The file, unless there is none, or the directory is none that this user may look into (`sudo -u` in /root)."""
    try:
        return path if path.is_file() else None
    except OSError:
        return None


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'" else value
