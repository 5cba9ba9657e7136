"""Requests that another server may understand otherwise than the gateway, so that limits would count the wrong thing.

Such a request is refused, never guessed at; only what it costs is counted as the dearer of its readings.
"""

import re
from collections.abc import Mapping
from urllib.parse import unquote_plus

from gateway.core.access.authentication import Headers
from gateway.core.http.targets import climbs, decoded, has_dot_dot, readings
from gateway.core.keys import KeyFrom
from gateway.core.policy import Operation, PolicySet, Route
from gateway.core.routing.match import find_operation, find_route

MAX_ODD_SEGMENTS = 256  # of such a path: comparing its readings is work for us
_IN_FIELDS = (KeyFrom.HEADER, KeyFrom.API_KEY)
_AMPERSAND = re.compile("&")
_SEPARATORS = re.compile("[&;]")  # `;` by HTML 4.01 §B.2.2, and by servers that followed it


def odd(path: str) -> bool:
    """Whether a path is readable in more than one way; without that there are no dot segments either."""
    return "%" in path or "//" in path or "/." in path or ";" in path or "\\" in path


def leaves(route: Route, path: str) -> bool:
    """Whether dot segments would take the call to a part of the upstream that its route does not stand for."""
    pattern = route.match.path
    if pattern is not None and pattern.segments is not None:
        return has_dot_dot(path)
    prefix = pattern.prefix if pattern is not None and pattern.prefix is not None else "/"
    if prefix == "/" and not route.upstream.base_path:
        return False
    return climbs(path[len(prefix) - 1 :])


def ambiguous(
    policies: PolicySet,
    found: tuple[Route, Mapping[str, str]],
    method: str,
    host: str,
    path: str,
    headers: Mapping[str, str],
) -> bool:
    """Whether a server may serve an odd path as another route's, past the limits of the route that was found, or read
    another caller in it than the one that is counted. Parameters as for `find_route`."""
    if path.count("/") > MAX_ODD_SEGMENTS:
        return True
    route, parameters = found
    callers = _callers(route, parameters)
    for reading in readings(path):
        other = find_route(policies, method, host, reading, headers)
        if other is not None and other[0] is not route:
            return True
        if callers:
            segments = reading.split("/")
            if any(len(segments) <= at or segments[at] not in same for at, same in callers):
                return True
    return False


def _callers(route: Route, parameters: Mapping[str, str]) -> list[tuple[int, tuple[str, str]]]:
    """Where a path says who is calling: number of the segment, its text and what that stands for."""
    pattern = route.match.path
    if pattern is None or pattern.segments is None:
        return []
    names = {f"{{{part.source_name}}}" for part in route.keys if part.source is KeyFrom.PATH}
    return [
        (at, (raw, decoded(raw)))
        for at, segment in enumerate(pattern.segments, 1)
        if segment in names
        for raw in (parameters[segment[1:-1]],)
    ]


def dearest(
    route: Route, operation: Operation | None, method: str, path_after_strip: str, headers: Mapping[str, str]
) -> Operation | None:
    """Of the operations that an odd path can be read as, the one that costs most; with a tie, the one given."""
    found = [find_operation(route, method, reading, headers) for reading in readings(path_after_strip)]
    return max((operation, *found), key=lambda one: _price(route, one))


def _price(route: Route, operation: Operation | None) -> int:
    costs = (operation or route).cost
    return sum(costs.get(limit.name, 1) for limit in route.limits)


def said_twice(route: Route, headers: Headers, query: str) -> bool:
    """Whether a field or parameter that says who is calling can be read in two ways: the upstream might read another
    value than the one that is counted.

    A field is, when it is repeated. A parameter is, when it is repeated, when one is there whose name some servers
    take for the same (`Tenant`, `tenant[]`), and when a server that splits at `;` too finds something else.
    """
    for part in route.keys:
        if part.source in _IN_FIELDS:
            if len(headers.getall(part.source_name, ())) > 1:
                return True
        elif part.source is KeyFrom.QUERY and query and _query_doubtful(query, part.source_name):
            return True
    return False


def _query_doubtful(query: str, name: str) -> bool:
    said = _like(query, _AMPERSAND, name)
    if len(said) > 1 or (said and unquote_plus(said[0].partition("=")[0]) != name):
        return True
    return ";" in query and _like(query, _SEPARATORS, name) != said


def _like(query: str, separators: re.Pattern[str], name: str) -> list[str]:
    """The pairs whose names a server might take for that name."""
    wanted = _alike(name)
    return [pair for pair in separators.split(query) if _alike(unquote_plus(pair.partition("=")[0])) == wanted]


def _alike(name: str) -> str:
    """What names that are the same to some server have in common: ASP.NET ignores case; PHP cuts at `[` and NUL, drops
    blanks in front and writes `.` and blanks as `_`; Rails and qs know `name[]`."""
    return re.split(r"[\[\0]", name.strip(), maxsplit=1)[0].replace(".", "_").replace(" ", "_").casefold()
