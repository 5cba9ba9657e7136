"""Where a request line leads: its route, its operation, and what the upstream is asked for."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from gateway.core.http.targets import host_name
from gateway.core.policy import Operation, PolicySet, Route
from gateway.core.problems import BAD_REQUESTS, NO_ROUTE, Refusal
from gateway.core.routing.ambiguity import ambiguous, dearest, leaves, odd
from gateway.core.routing.match import find_operation, find_route

PER_HOP = frozenset({"OPTIONS", "TRACE"})
NO_HEADERS: Mapping[str, str] = {}
_OTHERS = (("Allow", "GET, HEAD, POST, PUT, DELETE, PATCH"),)


class Asking(Protocol):
    """A request, as far as it decides where it leads and who is asking.

    method   as it came; target: raw
    headers  case-insensitive; `get` gives the first of a repeated field, `getall` each
    """

    @property
    def method(self) -> str: ...

    @property
    def target(self) -> str: ...

    @property
    def headers(self) -> Any: ...


class Resolved(NamedTuple):
    """A route and what the request line says to it.

    target      what the upstream is asked for (raw)
    parameters  path parameters as raw segments; query: raw text behind the `?`
    rest        the path behind `strip_prefix`: what operations are matched with
    """

    route: Route
    operation: Operation | None
    target: str
    parameters: Mapping[str, str]
    query: str
    rest: str


def resolve(policies: PolicySet, head: Asking, http_host: str) -> Resolved | Refusal:
    """Where a request leads, or why nowhere."""
    headers = head.headers if policies.by_headers else NO_HEADERS
    path, question, query = head.target.partition("?")
    method, host = head.method.upper(), host_name(http_host)
    found = find_route(policies, method, host, "/" if path == "*" else path, headers)
    if found is None:
        return Refusal(NO_ROUTE, "No route of this gateway matches the request.")
    route, parameters = found
    if method in PER_HOP and (unwelcome := _not_onward(method, route, head.headers)) is not None:
        return unwelcome
    unclear = odd(path)
    if unclear and leaves(route, path):
        return Refusal(BAD_REQUESTS[400], "The path leads out of its route.")
    if unclear and ambiguous(policies, found, method, host, path, headers):
        return Refusal(BAD_REQUESTS[400], "The path can also be read as another route's, or as another caller's.")
    rest = path.removeprefix(route.strip_prefix) if route.strip_prefix else path
    rest = rest if rest.startswith("/") or rest == "*" else "/" + rest
    operation = find_operation(route, method, rest, headers) if route.operations else None
    if unclear and route.operations:
        operation = dearest(route, operation, method, rest, headers)
    target = f"{route.upstream.base_path}{rest}{question}{query}" if rest != "*" else "*"
    return Resolved(route, operation, target, parameters, query, rest)


def _not_onward(method: str, route: Route, headers: Any) -> Refusal | None:
    """What ends here: a call whose hops are used up (RFC 9110 §7.6.2), and a TRACE whose answer would show the caller
    what the upstream is shown in its place (§9.3.8)."""
    hops = headers.get("Max-Forwards", "")
    if hops and not hops.strip("0"):
        return Refusal(
            BAD_REQUESTS[405],
            "Max-Forwards is 0, and the gateway itself does not answer this method.",
            extra_fields=_OTHERS,
        )
    if method == "TRACE" and route.upstream.credentials:
        return Refusal(BAD_REQUESTS[405], "TRACE is not passed on to an upstream that is shown credentials.")
    return None
