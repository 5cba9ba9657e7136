"""Where an answer is kept for the whole fleet, and what is known of that place."""

from dataclasses import fields, is_dataclass
from hashlib import blake2b
from typing import Any, NamedTuple

from gateway.core.cache.key import Shelf
from gateway.core.cache.rules import Stored


def room_of(route: str, *rules: object) -> str:
    """Where all answers of a route are: its name, and a hash over whatever decides what they are (frozen dataclasses).

    Gateways that have other rules or another upstream behind a route of that name have another room.
    """
    return f"{route}@{blake2b(repr(_said(rules)).encode(), digest_size=8).hexdigest()}"


def _said(value: Any) -> Any:
    """The same for equal values, in every process."""
    if isinstance(value, frozenset):
        return sorted(map(_said, value))
    if isinstance(value, tuple):
        return [_said(one) for one in value]
    if is_dataclass(value):
        return [(one.name, _said(getattr(value, one.name))) for one in fields(value) if one.compare]
    return value


class Place(NamedTuple):
    """The answer to one request on a shelf, by what it depends on, as far as is known. room: see `room_of`."""

    room: str
    shelf: Shelf
    variant: bytes
    vary: tuple[bytes, ...]


class Found(NamedTuple):
    """What the store says of a place.

    vary    what the answers there depend on, when that is something else than the asker thought: then nothing else
    stored  the answer, as of now; None = there is none
    fetches  who fetches it: mine, theirs; or what came of that: own, failed; "" = nobody does
    """

    vary: tuple[bytes, ...] | None = None
    stored: Stored | None = None
    fetches: str = ""
