"""Conditional requests (RFC 9110 §13): those of callers, answered from what is kept, and ours, that validate it."""

import re

from gateway.core.cache.control import values
from gateway.core.cache.rules import Stored
from gateway.core.http.fields import lower
from gateway.core.http.framing import Fields
from gateway.core.http.timestamps import http_date_us

PRECONDITIONS = frozenset({b"if-none-match", b"if-modified-since"})
IN_304 = frozenset({b"cache-control", b"content-location", b"date", b"etag", b"expires", b"vary", b"last-modified"})
"""Fields of an answer that its 304 has (§15.4.5)."""

_TAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')


def unchanged(stored: Stored, request: Fields, now_us: int) -> bool:
    """Whether who asks has what is kept already: its conditions say so (§13.2.2). Only for 200."""
    if stored.status != 200:
        return False
    wanted = values(request, b"if-none-match")
    if wanted:
        tag = etag(stored.fields)
        known = [one.removeprefix("W/") for value in wanted for one in _TAG.findall(value)]
        return any(value.strip() == "*" for value in wanted) or tag.removeprefix("W/") in known
    since = values(request, b"if-modified-since")
    since_us = http_date_us(since[0], now_us) if len(since) == 1 else None
    modified = values(stored.fields, b"last-modified") or values(stored.fields, b"date")  # RFC 9111 §4.3.2
    modified_us = http_date_us(modified[0], now_us) if modified else None
    return since_us is not None and modified_us is not None and modified_us <= since_us


def etag(fields: Fields) -> str:
    """The entity tag; "" = there is none that can be compared."""
    tags = values(fields, b"etag")
    return tags[0].strip() if len(tags) == 1 and _TAG.fullmatch(tags[0].strip()) else ""


def unconditional(request: Fields) -> Fields:
    """The request without its caller's conditions: the answer is to be a whole one."""
    return tuple(one for one in request if lower[one[0]] not in PRECONDITIONS)


def validating(stored: Stored, request: Fields) -> Fields | None:
    """The request that asks whether what is kept is still right (§4.3.1); None when that cannot be asked."""
    tag, modified = etag(stored.fields), values(stored.fields, b"last-modified")
    added = [(b"If-None-Match", tag.encode("latin-1"))] if tag else []
    if len(modified) == 1 and http_date_us(modified[0], stored.at_us) is not None:
        added.append((b"If-Modified-Since", modified[0].encode("latin-1")))
    return unconditional(request) + tuple(added) if added else None


def still_right(stored: Stored, answer: Fields) -> bool:
    """Whether a 304 with these fields is about what is kept (§4.3.4): it may have been changed once more meanwhile."""
    theirs, ours = etag(answer), etag(stored.fields)
    return not theirs or not ours or theirs.removeprefix("W/") == ours.removeprefix("W/")


def fields_of_304(stored: Stored) -> Fields:
    """Those of the kept answer that its 304 has."""
    return tuple(one for one in stored.fields if lower[one[0]] in IN_304)
