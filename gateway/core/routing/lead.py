"""Paths that begin alike, and where all of them lead: what one call has found out holds for the next one's path too."""

from collections.abc import Iterable, Mapping
from enum import Enum, auto
from typing import NamedTuple

from gateway.core.http.targets import host_name
from gateway.core.policy import Match, Operation, PathPattern, PolicySet, Route
from gateway.core.routing.ambiguity import odd
from gateway.core.routing.match import candidates, fits_but_for_path
from gateway.core.routing.resolve import NO_HEADERS, PER_HOP, Asking, Resolved

MOST_SEGMENTS = 3
"""A longer beginning is said of few paths."""


class Lead(NamedTuple):
    """All paths with this beginning lead to one route and one operation, but for odd ones: those have other readings.

    beginning  ends with `/`
    cut        so many characters are not sent on, but `start` in their place
    """

    beginning: str
    cut: int
    start: str

    def follow(self, target: str) -> str | None:
        """What the upstream is asked for (raw), as `resolve` has it; None when this says nothing about the target."""
        if not target.startswith(self.beginning) or odd(target.partition("?")[0]):
            return None
        return self.start + target[self.cut :]


class _Reach(Enum):
    NEVER = auto()
    SOMETIMES = auto()
    ALWAYS = auto()


def lead(policies: PolicySet, head: Asking, http_host: str, resolved: Resolved) -> Lead | None:
    """The shortest beginning of this path that is enough to know where it leads; parameters as for `resolve`, and what
    that has found. It holds for requests with the same method, host and fields."""
    method, path = head.method.upper(), head.target.partition("?")[0]
    if method in PER_HOP or odd(path):
        return None
    headers = head.headers if policies.by_headers else NO_HEADERS
    end = 0
    for _ in range(MOST_SEGMENTS):
        end = path.find("/", end + 1)
        if end < 0:
            return None
        beginning = path[: end + 1]
        if _certain(policies, resolved.route, beginning, method, host_name(http_host), headers):
            return _sent_on(resolved.route, beginning)
    return None


def _certain(
    policies: PolicySet, route: Route, beginning: str, method: str, host: str, headers: Mapping[str, str]
) -> bool:
    """Whether every path with this beginning is the route's, and of one operation or none."""
    strip = route.strip_prefix
    if strip != beginning and strip.startswith(beginning):
        return False
    rest = beginning.removeprefix(strip)
    rest = rest if rest.startswith("/") else "/" + rest
    routes = candidates(policies, host, beginning.split("/")[1])
    return _decided(routes, method, host, beginning, headers) and _decided(route.operations, method, "", rest, headers)


def _decided(
    choices: Iterable[Route | Operation], method: str, host: str, beginning: str, headers: Mapping[str, str]
) -> bool:
    """Whether the first that matches is the same one for all paths with this beginning, or none is."""
    for choice in choices:
        reach = _reach(choice.match, method, host, beginning, headers)
        if reach is not _Reach.NEVER:
            return reach is _Reach.ALWAYS
    return True


def _reach(match: Match, method: str, host: str, beginning: str, headers: Mapping[str, str]) -> _Reach:
    """Of how many of these paths it holds."""
    if not fits_but_for_path(match, method, host, headers):
        return _Reach.NEVER
    if match.path is None:
        return _Reach.ALWAYS
    literal, any_rest = _literal(match.path)
    if any_rest and beginning.startswith(literal):
        return _Reach.ALWAYS
    return _Reach.SOMETIMES if literal.startswith(beginning) or beginning.startswith(literal) else _Reach.NEVER


def _literal(pattern: PathPattern) -> tuple[str, bool]:
    """What every path of the pattern begins with, as if it ended with `/`; and whether anything may come behind it."""
    if pattern.prefix is not None:
        return pattern.prefix, True
    text = "/"
    for segment in pattern.segments or ():
        if segment in ("*", "**") or segment.startswith("{"):
            return text, segment == "**"
        text += segment + "/"
    return text, False


def _sent_on(route: Route, beginning: str) -> Lead:
    """`resolve` strips and puts in front the same; what is left of a path begins with `/`."""
    cut = len(route.strip_prefix) if beginning.startswith(route.strip_prefix) else 0
    return Lead(beginning, cut, route.upstream.base_path + ("" if beginning[cut : cut + 1] == "/" else "/"))
