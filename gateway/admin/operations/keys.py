"""Which caller a path names: the parts of a key, in their order, each percent-encoded by itself.

`~` is the anonymous caller; a caller whose value is that character is `%7E`.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from gateway.admin.problems import AdminProblem
from gateway.core.keys import ANONYMOUS
from gateway.observe.log.text import readable

Parts = dict[str, str | None]


def read_parts(kind: str, name: str, key: Sequence[str], words: Sequence[str]) -> Parts:
    """The parts of a `kind` ("limit", "breaker") that counts by `key`, from raw path segments. Raises AdminProblem."""
    given = [word for word in words if word] if not key else words
    if len(given) != len(key) or not all(given):
        raise AdminProblem(400, "WRONG_KEY", f"{kind.capitalize()} {name} counts {_wanted(key, len(given))}.")
    return {part: _value(word) for part, word in zip(key, given, strict=True)}


def _wanted(key: Sequence[str], given: int) -> str:
    if not key:
        return "everybody together: give no key"
    order = "its value" if len(key) == 1 else "their values in this order"
    return f"by {', '.join(key)}: give {order}" + (f", not {given} values" if given > len(key) else "")


def _value(word: str) -> str | None:
    return None if word == ANONYMOUS else unquote(word, errors="surrogateescape")


def shown(parts: Mapping[str, str | None]) -> dict[str, Any]:
    """The values of key parts as people write them; None where the caller has none."""
    return {name: None if value is None else readable(value) for name, value in parts.items()}


def in_words(parts: Mapping[str, str | None]) -> str:
    """The same in one line."""
    return ", ".join("anonymous" if value is None else value for value in shown(parts).values()) or "everybody"
