"""Which of two matching routes is meant: the more specific one.

Compared in this order: an exact host, then a wildcard host (longer first), then none; the longer path; segment by
segment a literal before `{name}` before `*`, and an exact end before an open one; a condition on the method; the number
of conditions on headers. Routes that are equal in all of that and can match the same call are an error.
"""

from collections.abc import Iterable, Iterator

from gateway.core.policy import Match, PathPattern, Route

REST = "**"
_Headers = tuple[tuple[str, str | None], ...]
_ByHeaders = dict[tuple[tuple[str, bool], ...], dict[_Headers, list[Route]]]


def in_order(routes: Iterable[Route]) -> tuple[Route, ...]:
    """Most specific first; equals stay in file order."""
    return tuple(sorted(routes, key=lambda route: specificity(route.match), reverse=True))


def specificity(match: Match) -> tuple[int, ...]:
    """A number for every criterion, the weightiest first; greater is more specific."""
    host = match.host or ""
    segments = path_segments(match.path)
    open_end = segments[-1:] == (REST,)
    fixed = segments[:-1] if open_end else segments
    return (
        0 if match.host is None else 1 if host.startswith("*") else 2,
        len(host) if host.startswith("*") else 0,
        len(fixed),
        *(_weight(segment) for segment in fixed),
        0 if open_end else 1,
        1 if match.methods else 0,
        len(match.headers),
    )


def rivals(routes: Iterable[Route]) -> Iterator[tuple[Route, Route]]:
    """(earlier, later) for every route that an earlier one equals in specificity and overlaps."""
    alike: dict[tuple[object, ...], _ByHeaders] = {}
    for route in routes:
        match = route.match
        shape = tuple("{}" if segment.startswith("{") else segment for segment in path_segments(match.path))
        group = alike.setdefault((match.host, shape, bool(match.methods), len(match.headers)), {})
        headers = tuple(sorted(match.headers, key=lambda header: header[0]))
        rival = next((other for other in _compatible(group, headers) if _share_method(other.match, match)), None)
        if rival is not None:
            yield rival, route
        group.setdefault(_asked(headers), {}).setdefault(headers, []).append(route)


def _compatible(group: _ByHeaders, headers: _Headers) -> Iterator[Route]:
    """The routes of a group whose conditions on headers can hold together with these.

    Of routes that ask the same fields for exact values only those for the same values can: no need to try the others,
    of which there may be thousands (one route per tenant).
    """
    asked = _asked(headers)
    for others_asked, by_values in group.items():
        if others_asked == asked and all(exact for _, exact in asked):
            yield from by_values.get(headers, ())
            continue
        wanted = dict(headers)
        for others, routes in by_values.items():
            if all(None in (value, wanted.get(name)) or wanted[name] == value for name, value in others):
                yield from routes


def _asked(headers: _Headers) -> tuple[tuple[str, bool], ...]:
    """The fields, and whether for an exact value."""
    return tuple((name, value is not None) for name, value in headers)


def _share_method(one: Match, other: Match) -> bool:
    return not one.methods or bool(one.methods & other.methods)


def path_segments(path: PathPattern | None) -> tuple[str, ...]:
    """A prefix is its segments and any rest; no condition is any rest."""
    if path is None:
        return (REST,)
    if path.prefix is not None:
        return (*path.prefix.split("/")[1:-1], REST)
    return path.segments or ()


def _weight(segment: str) -> int:
    if segment == "*":
        return 1
    return 2 if segment.startswith("{") else 3
