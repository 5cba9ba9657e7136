"""Paths that lead elsewhere than they match: dot segments are forwarded untouched, but never out of their route.

The route is chosen by the raw path; many servers resolve `..`, `%2e%2e` or `..\\` afterwards (RFC 3986 §5.2.4 and what
they do beyond it). A path that would so leave the part of the upstream its route stands for is refused, and so is one
in which a server may find another route, or another caller, than the gateway.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import product

_ENCODED = re.compile(r"%(2[ef]|5c)", re.IGNORECASE)
_DECODED = {"2e": ".", "2f": "/", "5c": "\\"}
_ESCAPED = re.compile(r"(?:%[0-9A-Fa-f]{2})+")
_BORDER = re.compile(r"[/\\]")


def has_dot_dot(path: str) -> bool:
    """Whether any segment, read in any of those ways, is `..`."""
    return any(segment == ".." for segment in _segments(path))


def decoded(segment: str) -> str:
    """The text a path segment stands for; bytes that are no UTF-8 as surrogate escapes."""
    return _ESCAPED.sub(_octets, segment) if "%" in segment else segment


def _octets(escaped: re.Match[str]) -> str:
    """As `urllib.parse.unquote` does it, which takes thousands of times as long for thousands of lone `%`."""
    return bytes.fromhex(escaped[0].replace("%", "")).decode("utf-8", "surrogateescape")


def readings(path: str) -> Iterator[str]:
    """The path as different servers read it; never for forwarding.

    Decoded not at all, once or twice; `\\` as a border or not; with `;parameters` or without; dot segments resolved or
    not; empty segments kept or not. Only what makes a difference to this path is tried.
    """
    once = decoded(path)
    seen = {path}
    for text in {path: 0, once: 0, decoded(once): 0}:
        for borders in {text: 0, text.replace("\\", "/"): 0}:
            for reading in _tidied(borders):
                if reading not in seen:
                    seen.add(reading)
                    yield reading


def _tidied(path: str) -> Iterator[str]:
    segments = path.split("/")[1:]
    bare = [segment.partition(";")[0] for segment in segments] if ";" in path else segments
    for some, resolve, merge in product((segments, bare) if ";" in path else (segments,), (False, True), (False, True)):
        kept = _resolved(some) if resolve else some
        yield "/" + "/".join([segment for segment in kept[:-1] if segment] + kept[-1:] if merge else kept)


def _resolved(segments: list[str]) -> list[str]:
    """RFC 3986 §5.2.4. A path that ends in a dot segment ends in `/`."""
    kept: list[str] = []
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    return [*kept, ""] if segments[-1] in (".", "..") or not kept else kept


def climbs(path: str) -> bool:
    """Whether the path, read in any of the ways servers read it, goes above where it begins at any point."""
    depth = 0
    for segment in _segments(path):
        if segment == "..":
            depth -= 1
            if depth < 0:
                return True
        elif segment not in ("", "."):
            depth += 1
    return False


def _segments(path: str) -> list[str]:
    """The segments without `;parameters`, dots and borders decoded; [] when none can be `..`."""
    if ".." not in path and "%" not in path:
        return []
    decoded = _ENCODED.sub(lambda match: _DECODED[match[1].lower()], path)
    return [segment.partition(";")[0] for segment in _BORDER.split(decoded)]


@lru_cache(maxsize=1024)
def host_name(host: str) -> str:
    """What routes compare, and limits count: without port, in lower case, without the dot that ends a whole name."""
    name = host.rpartition(":")[0] if ":" in host and not host.endswith("]") else host
    return name.lower().removesuffix(".")
