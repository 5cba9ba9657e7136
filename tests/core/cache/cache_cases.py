"""Short ways to say requests, answers and caches in tests."""

from typing import Any

from gateway.core.cache.rules import Cache, Stored, keep
from gateway.core.http.framing import Fields

S = 1_000_000
NOW_US = 1_800_000_000 * S  # Fri, 15 Jan 2027 08:00:00 GMT
NOW = "Fri, 15 Jan 2027 08:00:00 GMT"
AGO_60 = "Fri, 15 Jan 2027 07:59:00 GMT"
IN_60 = "Fri, 15 Jan 2027 08:01:00 GMT"


def fields(*lines: str) -> Fields:
    """Field lines as `Name: value`."""
    pairs = (line.split(": ", 1) for line in lines)
    return tuple((name.encode(), value.encode("latin-1")) for name, value in pairs)


def a_cache(**changes: Any) -> Cache:
    """A cache of /a and /b/{id}, by tenant, without a lifetime of its own."""
    given = {"methods": frozenset({"GET", "HEAD"}), "paths": (("a",), ("b", "{id}")), "vary_by": ("tenant",)}
    return Cache(**(given | changes))


def kept(*lines: str, status: int = 200, body: bytes = b"0123456789", took_us: int = 0, **cache: Any) -> Stored:
    """What is kept at NOW of an answer with these fields."""
    answer = fields(*lines)
    return keep(a_cache(**cache), status, "Said", answer, body, asked_us=NOW_US - took_us, now_us=NOW_US)
