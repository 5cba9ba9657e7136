"""What `Cache-Control` says, in a request or an answer (RFC 9111 §5.2), read the way that errs towards not keeping."""

import re
from collections.abc import Iterable

from gateway.core.http.fields import lower
from gateway.core.http.framing import Fields

MAX_SECONDS = 2**31
"""RFC 9111 §1.2.2: more than that is that."""
MAX_VALUE_BYTES = 4096
"""A longer field is taken for `no-store`: nobody means well by it."""

_ELEMENT = re.compile(r'(?:[^,"]|"(?:\\.|[^"\\])*"?)+')
_WHOLE = re.compile(r'(?:[^"]++|"(?:\\.|[^"\\])*+")*+').fullmatch
"""No quoted string is left open. Possessive: what is no match is known after one look at each character."""
_SECONDS = re.compile(r'"?([0-9]{1,64})"?').fullmatch


class Directives:
    """The directives of a message, by lower-case name. `bool` says whether there are any."""

    __slots__ = ("_said",)

    def __init__(self, values: Iterable[str]) -> None:
        said: dict[str, set[str]] = {}
        for value in values:
            for element in _elements(value):
                name, _, argument = element.partition("=")
                said.setdefault(name.strip().lower(), set()).add(argument.strip())
        said.pop("", None)
        self._said = said

    def __bool__(self) -> bool:
        return bool(self._said)

    def __contains__(self, name: str) -> bool:
        """Whether the directive is there, with whatever argument.

        `private` and `no-cache` count for the whole answer also where they name fields: §5.2.2 allows it.
        """
        return name in self._said

    def bare(self, name: str) -> bool:
        """Whether the directive is there without an argument."""
        return self._said.get(name) == {""}

    def seconds(self, name: str) -> int | None:
        """The number a directive gives; None = it is not there. One that is no number, or two of them, is 0: stale."""
        arguments = self._said.get(name)
        if arguments is None:
            return None
        match = _SECONDS(next(iter(arguments))) if len(arguments) == 1 else None
        return min(int(match[1]), MAX_SECONDS) if match else 0


def _elements(value: str) -> list[str]:
    """What stands between commas. Where a quoted string has no end, nobody knows what is in it: read both ways."""
    if len(value) > MAX_VALUE_BYTES:
        return ["no-store"]
    found = _ELEMENT.findall(value)
    return found if _WHOLE(value) else found + value.split(",")


def values(fields: Fields, name: bytes) -> list[str]:
    """The values of each field with this (lower-case) name, in order."""
    return [value.decode("latin-1") for known, value in fields if lower[known] == name]


def directives(fields: Fields) -> Directives:
    """The cache directives of the message with these fields."""
    return Directives(values(fields, b"cache-control"))


def request_directives(fields: Fields) -> Directives:
    """The same of a request: one without `Cache-Control` may say `Pragma: no-cache` (§5.4)."""
    said = directives(fields)
    return said or Directives("no-cache" for value in values(fields, b"pragma") if "no-cache" in value.lower())
