"""Words for people: names that are safe to print, counts with their noun."""

from collections.abc import Sequence
from pathlib import Path

_FEW = 3
"""So many files are named, more are counted."""


def plain(text: str) -> str:
    """Names that callers chose must not move a terminal's cursor."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def whose(key: str) -> str:
    """The key of a counter or breaker; `*` is the one of those that count everybody together."""
    return "everybody" if key in ("", "*") else key


def counted(count: int, noun: str) -> str:
    """`1 worker`, `2 workers`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def files_named(files: Sequence[str]) -> str:
    """The names of a few files, or how many there are."""
    return ", ".join(files) if 0 < len(files) <= _FEW else f"{len(files)} files"


def not_below(directories: Sequence[Path]) -> str:
    """To be said behind the files that are read, when there are others in these directories; "" for none."""
    more = f" and {len(directories) - _FEW} more" if len(directories) > _FEW else ""
    return f"; not those in {', '.join(map(str, directories[:_FEW]))}{more}" if directories else ""
