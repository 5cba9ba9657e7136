"""A call as the access log tells of it, so that it can be judged once more.

A line does not have everything that a request had: of the header fields only what says who called, and no query. What
routes ask of other fields is taken to have been as the route of the same name asks for it, since that route was found.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from gateway.core.caller import Parts
from gateway.core.keys import KeyFrom, OnMissing
from gateway.core.policy import Match, PolicySet, Route
from gateway.core.webhooks.intake import ROUTE as INTAKE_ROUTE

ACCESS = "http.access"
"""`event_name` of the lines about calls."""
PARTS = ("tenant", "account", "connection")
"""Key parts that have a field of the same name in the line."""
_TOLD = (KeyFrom.PATH, KeyFrom.CLIENT_IP)


class Said(dict[str, str]):
    """Header fields by lower-case name, none repeated."""

    def getall(self, name: str, default: Sequence[str] = ()) -> Sequence[str]:
        """As `core.access.authentication.Headers`."""
        return (self[name],) if name in self else default


@dataclass(slots=True)
class Recorded:
    """One call; see `core.routing.resolve.Asking`.

    known  values of key parts that the line tells, for those that it could have told; None = the caller had none
    """

    method: str
    target: str
    http_host: str
    client_ip: str
    headers: Said = field(default_factory=Said)
    known: Parts = field(default_factory=dict)


def recorded(line: Mapping[str, Any], assume: "Assume") -> Recorded | None:
    """What a line of the access log (native format) tells; None when it is none, or tells of no
    request, or of a webhook that was taken in.

    assume  the fields that a call of this route and operation must have had: `assumed`, or `nothing_assumed`
    """
    method, path = line.get("method"), line.get("path")
    if line.get("event_name") != ACCESS or not isinstance(method, str) or not isinstance(path, str):
        return None
    if _text(line, "route").startswith(INTAKE_ROUTE):
        return None
    headers = assume(_text(line, "route"), _text(line, "operation"))
    known = {name: _text(line, name) or None for name in PARTS}
    query = _text(line, "query")
    target = path + (f"?{query}" if query else "")
    return Recorded(method, target, _text(line, "http_host"), _text(line, "client_ip"), headers, known)


def untold(policies: PolicySet) -> frozenset[str]:
    """Key parts that no line tells, unless by chance: in the query, or in a field that a route asks for."""
    return frozenset(name for name, part in policies.keys.items() if name not in PARTS and part.source not in _TOLD)


def as_told(policies: PolicySet) -> PolicySet:
    """The policies for calls of which only their lines are known: that a part is not told does not mean that the call
    had none. What counts by it is not asked, and nobody is refused for the lack of it."""
    hidden = untold(policies)
    keys = {
        name: replace(part, on_missing=OnMissing.SKIP) if name in hidden else part
        for name, part in policies.keys.items()
    }
    return replace(policies, keys=keys, routes=tuple([_lenient(route, hidden) for route in policies.routes]))


def _lenient(route: Route, hidden: frozenset[str]) -> Route:
    """Credentials that are some caller's by such a part may be there."""
    if not any(name in hidden for one in route.upstream.credentials for name, _ in one.match):
        return route
    return replace(route, upstream=replace(route.upstream, credentials_optional=True))


Assume = Callable[[str, str], Said]


def assumed(policies: PolicySet, route_name: str, operation_name: str) -> Said:
    """The fields that a call of this route and operation must have had."""
    headers = Said()
    route = next((one for one in policies.routes if one.name == route_name), None)
    if route is not None:
        _assume(headers, route.match)
        for operation in route.operations:
            if operation.name == operation_name:
                _assume(headers, operation.match)
    return headers


def nothing_assumed(_route_name: str, _operation_name: str) -> Said:
    """In the place of `assumed`, for who does not know the routes."""
    return Said()


def _assume(headers: Said, match: Match) -> None:
    for name, value in match.headers:
        headers.setdefault(name, value or "?")


def _text(line: Mapping[str, Any], name: str) -> str:
    value = line.get(name)
    return value if isinstance(value, str) else ""
