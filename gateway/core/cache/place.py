"""Where an answer is kept for the whole fleet, and what is known of that place."""

from typing import NamedTuple

from gateway.core.cache.key import Shelf
from gateway.core.cache.rules import Stored


class Place(NamedTuple):
    """The answer to one request on a shelf of a route, by what it depends on, as far as is known."""

    route: str
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
