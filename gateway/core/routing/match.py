"""Which route and which operation a request belongs to.

Paths are matched as they came, undecoded: `%2F` inside a segment is no border, and `/%61` is not `/a`. Whoever decodes
before matching and forwards undecoded disagrees with the upstream about what was asked for. Matching splits on `/`
and compares texts; there are no regular expressions and nothing backtracks.

The work per call is one or two dictionary lookups and the few routes that share host and first segment, however
many routes there are (`PolicySet.by_host`).
"""

from collections.abc import Iterator, Mapping

from gateway.core.policy import Match, Operation, PathPattern, PolicySet, Route

Found = tuple[Route, Mapping[str, str]]
_NO_PARAMETERS: Mapping[str, str] = {}


def find_route(
    policies: PolicySet, method: str, host: str, path: str, headers: Mapping[str, str]
) -> tuple[Route, Mapping[str, str]] | None:
    """The first route in order of precedence that matches, with its path parameters as raw segments.

    method   upper case
    host     lower case, without port
    path     the raw target up to `?`
    headers  looked up by lower-case name; the mapping is case-insensitive
    """
    segments = path.split("/")
    for route in candidates(policies, host, segments[1] if len(segments) > 1 else ""):
        parameters = _matches(route.match, method, host, path, segments, headers)
        if parameters is not None:
            return route, parameters
    return None


def candidates(policies: PolicySet, host: str, first_segment: str) -> Iterator[Route]:
    """The routes that may match, in order of precedence."""
    for table in (policies.by_host.get(host), policies.by_host.get(None)):
        if table is not None:
            yield from table.get(first_segment) or table[None]


def find_operation(route: Route, method: str, path_after_strip: str, headers: Mapping[str, str]) -> Operation | None:
    """The first operation of the route that matches. Its paths are relative to what `strip_prefix` left."""
    if not route.operations:
        return None
    segments = path_after_strip.split("/")
    for operation in route.operations:
        if _matches(operation.match, method, "", path_after_strip, segments, headers) is not None:
            return operation
    return None


def _matches(
    match: Match, method: str, host: str, path: str, segments: list[str], headers: Mapping[str, str]
) -> Mapping[str, str] | None:
    """The path parameters when every condition holds, else None."""
    if not fits_but_for_path(match, method, host, headers):
        return None
    return _NO_PARAMETERS if match.path is None else match_path(match.path, path, segments)


def fits_but_for_path(match: Match, method: str, host: str, headers: Mapping[str, str]) -> bool:
    """Whether every condition holds that is not about the path."""
    if match.methods and method not in match.methods:
        return False
    if match.host is not None and not host_matches(match.host, host):
        return False
    return not match.headers or _headers_match(match, headers)


def host_matches(pattern: str, host: str) -> bool:
    """`*.example.com` stands for every name below example.com, not for example.com itself."""
    if pattern.startswith("*"):
        return host.endswith(pattern[1:]) and len(host) >= len(pattern)
    return host == pattern


def match_path(pattern: PathPattern, path: str, segments: list[str]) -> Mapping[str, str] | None:
    """The path parameters when the path fits, else None.

    segments  `path.split("/")`

    A prefix ends at a segment border: `/erp/` covers `/erp` and `/erp/x`, not `/erpx`. `{name}` and `*` stand for one
    segment that is not empty, `**` for any rest, also for none.
    """
    if pattern.prefix is not None:
        return _NO_PARAMETERS if path.startswith(pattern.prefix) or path + "/" == pattern.prefix else None
    wanted = pattern.segments or ()
    if wanted and wanted[-1] == "**":
        wanted = wanted[:-1]
        if len(segments) <= len(wanted):
            return None
    elif len(segments) != len(wanted) + 1:
        return None
    return None if segments[0] else _match_segments(wanted, segments)


def _match_segments(wanted: tuple[str, ...], segments: list[str]) -> Mapping[str, str] | None:
    """Compare `wanted` with the segments behind the leading slash; there are at least as many."""
    parameters: dict[str, str] = {}
    for position, want in enumerate(wanted, 1):
        have = segments[position]
        if want.startswith("{"):
            if not have:
                return None
            parameters[want[1:-1]] = have
        elif want != have and (want != "*" or not have):
            return None
    return parameters


def _headers_match(match: Match, headers: Mapping[str, str]) -> bool:
    for name, wanted in match.headers:
        value = headers.get(name)
        if value is None or (wanted is not None and value != wanted):
            return False
    return True
