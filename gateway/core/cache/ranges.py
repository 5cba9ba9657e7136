"""Parts of an answer that is there as a whole (RFC 9110 §14): one range of bytes, as nearly all who ask want."""

import re
from typing import NamedTuple

from gateway.core.cache.control import values
from gateway.core.cache.rules import Stored
from gateway.core.http.framing import Fields
from gateway.core.http.timestamps import http_date_us

_ONE = re.compile(r"(?i:bytes)[ \t]*=[ \t]*(?:([0-9]{1,18})-([0-9]{1,18})?|-([0-9]{1,18}))[ \t]*").fullmatch


class Part(NamedTuple):
    """Bytes from `first` up to, not including, `end`. `first == end`: there are none."""

    first: int
    end: int


def wanted_part(stored: Stored, request: Fields, now_us: int) -> Part | None:
    """The part of a stored answer that a request is for; None = all of it, which is right for any request."""
    said = values(request, b"range")
    one = _ONE(said[0]) if len(said) == 1 and stored.status == 200 else None
    if one is None or not _same(stored, values(request, b"if-range"), now_us):
        return None
    first, last, suffix = one.groups()
    size = len(stored.body)
    if suffix is not None:
        return Part(max(0, size - int(suffix)), size)
    if last is not None and int(last) < int(first):
        return None
    return Part(min(int(first), size), size if last is None else min(int(last) + 1, size))


def _same(stored: Stored, condition: list[str], now_us: int) -> bool:
    """§13.1.5: a part is of use only to who has the rest of the very same answer."""
    if not condition:
        return True
    tags, modified = values(stored.fields, b"etag"), values(stored.fields, b"last-modified")
    if len(condition) > 1:
        return False
    if condition[0].startswith('"'):  # a weak one begins with W/, and is no date either
        return tags == condition
    when_us = http_date_us(condition[0], now_us)
    return when_us is not None and modified == condition
