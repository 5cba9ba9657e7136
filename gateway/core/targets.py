"""Paths that lead elsewhere than they match: dot segments are forwarded untouched, but never out of their route.

The route is chosen by the raw path; many servers resolve `..`, `%2e%2e` or `..\\` afterwards (RFC 3986 §5.2.4 and what
they do beyond it). A path that would so leave the part of the upstream its route stands for is refused.
"""

import re
from urllib.parse import unquote

_ENCODED = re.compile(r"%(2[ef]|5c)", re.IGNORECASE)
_DECODED = {"2e": ".", "2f": "/", "5c": "\\"}
_BORDER = re.compile(r"[/\\]")


def has_dot_dot(path: str) -> bool:
    """Whether any segment, read in any of those ways, is `..`."""
    return any(segment == ".." for segment in _segments(path))


def canonical(path: str) -> str:
    """The path as the most forgiving server might read it: decoded, `\\` as `/`, without parameters, `.`, `..`, `//`.

    For comparing which route a path could also be read as; never for forwarding.
    """
    kept: list[str] = []
    for segment in _BORDER.split(unquote(path)):
        bare = segment.partition(";")[0]
        if bare == "..":
            del kept[-1:]
        elif bare not in ("", "."):
            kept.append(bare)
    return "/" + "/".join(kept) + ("/" if kept and path.endswith("/") else "")


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
