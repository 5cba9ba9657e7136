"""What a trusted proxy said about the caller, joined with what this hop adds: one line for each field, one reading.

A second line of a list field is correct (RFC 9110 §5.3), but servers that look only at the first line, or only at the
last, would read something else than those that join them; and X-Forwarded-Proto and -Host are not lists at all.
"""

import re
from collections.abc import Iterable

from gateway.core.http.client_address import split
from gateway.core.http.fields import lower
from gateway.core.http.framing import Fields

_BALANCED = re.compile(r'(?:[^"]++|"(?:[^"\\]++|\\.)*+")*+')
_WORD = re.compile(rb"[!-+\--~]+")  # printable, no comma, no blank


def said(fields: Fields, name: bytes) -> list[bytes]:
    """The values of every field of that lower-case name that are not empty, in order."""
    return [value for given, value in fields if value and lower[given] == name]


def forwarded(given: Iterable[bytes], ours: bytes) -> bytes:
    """`Forwarded` with our element at its end. What ends in an open quote is left out: it would hide ours."""
    kept: list[str] = []
    for element in reversed(split(b",".join(given).decode("latin-1"), ",")):
        if _BALANCED.fullmatch(element) is None:
            break
        if stripped := element.strip(" \t"):
            kept.append(stripped)
    return b"".join(element.encode("latin-1") + b", " for element in reversed(kept)) + ours


def forwarded_for(given: Iterable[bytes], ours: bytes) -> bytes:
    """`X-Forwarded-For` with our peer at its end."""
    return b", ".join([*given, ours])


def nearest(given: list[bytes], ours: bytes) -> bytes:
    """The value for `X-Forwarded-Proto` or `-Host`: the last one said, by our own peer, or ours when it is none."""
    last = given[-1].rpartition(b",")[2].strip(b" \t") if given else b""
    return last if _WORD.fullmatch(last) else ours
