"""Routes by host and first path segment, so that a call looks at few of a thousand."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.core.policy import PathPattern, Route


def by_host(routes: Sequence["Route"]) -> dict[str | None, dict[str | None, tuple["Route", ...]]]:
    """See `PolicySet.by_host`."""
    hosts: dict[str | None, list[Route]] = {}
    for route in routes:
        host = route.match.host
        hosts.setdefault(None if host is None or host.startswith("*") else host, []).append(route)
    return {host: _by_first_segment(some) for host, some in hosts.items()}


def _by_first_segment(routes: Sequence["Route"]) -> dict[str | None, tuple["Route", ...]]:
    """Keeps the order: a route without a literal first segment is put into every list."""
    firsts = [_first_segment(route.match.path) for route in routes]
    lists: dict[str | None, list[Route]] = {first: [] for first in (None, *firsts)}
    for route, first in zip(routes, firsts, strict=True):
        for some in lists.values() if first is None else (lists[first],):
            some.append(route)
    return {first: tuple(some) for first, some in lists.items()}


def _first_segment(path: "PathPattern | None") -> str | None:
    """The literal text that the first segment of every matching path is; None when it is not one text."""
    if path is None:
        return None
    if path.prefix is not None:
        return path.prefix.split("/")[1] or None
    first = path.segments[0] if path.segments else ""
    return None if first in ("*", "**") or first.startswith("{") else first
