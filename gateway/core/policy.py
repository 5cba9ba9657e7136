"""The compiled policy set: frozen, complete, ready for use. A call keeps the set it began with.

Built by `gateway.policy` from YAML; the core only reads it. Everything that can be computed at load time is
a field here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Optional, TypeVar

from gateway.core.access.authentication import Scheme
from gateway.core.access.credentials import Credential
from gateway.core.cache.rules import Cache
from gateway.core.classes import DEFAULT, Classes
from gateway.core.guards import Breaker
from gateway.core.http.fields import lookalikes
from gateway.core.http.signals import TOO_MANY
from gateway.core.keys import KeyFrom, KeyPart
from gateway.core.limits import Limit
from gateway.core.measure import Measure
from gateway.core.retry import RENEWED, UNAUTHORIZED, Retry
from gateway.core.route_index import by_host
from gateway.core.upstream import Upstream

if TYPE_CHECKING:
    from gateway.core.sandbox import Fixtures, Sandbox


_Set = TypeVar("_Set", bound=frozenset[Any])


@lru_cache(maxsize=1_000)
def _same(one: _Set) -> _Set:
    """One and the same object for all routes where it is equal: it is in the processor's cache when a call wants it."""
    return one


@dataclass(frozen=True, slots=True)
class PathPattern:
    """A path condition. Exactly one of `prefix` and `segments` is used.

    prefix    `path_prefix: /erp/`: matches the prefix on a segment boundary; begins and ends with `/`
    segments  `path: /a/{id}/*`: literal texts, `{name}` for one captured segment, `*` for one segment,
              `**` (only last) for any rest. Matching splits on `/` only: linear, no regular expressions.
    """

    prefix: str | None = None
    segments: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Match:
    """Conditions that must all hold. Empty = matches everything.

    methods  upper case; empty = any
    headers  (name in lower case, exact value or None for "present")
    host     lower case without port, `*.example.com` for any single leading label or more; None = any
    """

    host: str | None = None
    path: PathPattern | None = None
    methods: frozenset[str] = frozenset()
    headers: tuple[tuple[str, str | None], ...] = ()


@dataclass(frozen=True, slots=True)
class Operation:
    """A named kind of call on a route; the first whose match holds.

    cost      units by limit name, reserved ones where `measures` says how the real number is found; what the route
              says of other limits is here too. 0 = that limit is not asked
    """

    name: str
    match: Match
    entity: str = ""
    cost: Mapping[str, int] = field(default_factory=dict)
    measures: Mapping[str, Measure] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Route:
    """What happens to the calls it matches. `mode: off` in `limits` entries has been dropped already.

    strip_prefix  removed from the front of the raw path before forwarding; "" = nothing
    keys          the key parts that its limits, breaker and upstream count by, and as far as they are defined the
                  well-known ones (tenant, account, connection), so that logs can name the caller
    authenticate  schemes one of which must know the caller; empty = anybody may call
    require       (claim, value) pairs that the caller's credentials must vouch for
    retry, breaker  None = failed attempts are not repeated, not counted
    credential_fields  lower-case names of fields that are not forwarded: those for the schemes, and the fields that
                  some servers take for one that says who is calling (`X_Tenant_Id`); made from schemes and keys
    cost, measures  of calls that are no operation, as there
    cache         what is kept of the upstream's answers; None = nothing
    line_keys     whether the request line says who is calling; made from keys
    watched       statuses that another attempt may follow: those of `retry`, what may stand for a 429 of them, and 401
                  where tokens are renewed
    keep_bytes    request bodies up to this size are kept for further attempts; made from both, too
    sandbox       which calls its fixtures answer instead of the upstream; None = none
    sandboxed     the route that those have: the same, but for what is about the upstream, and with `fixtures`
    """

    name: str
    match: Match
    upstream: Upstream
    limits: tuple[Limit, ...] = ()
    keys: tuple[KeyPart, ...] = ()
    operations: tuple[Operation, ...] = ()
    strip_prefix: str = ""
    source: str = ""
    authenticate: tuple[Scheme, ...] = ()
    require: tuple[tuple[str, str], ...] = ()
    retry: Retry | None = None
    breaker: Breaker | None = None
    cost: Mapping[str, int] = field(default_factory=dict)
    measures: Mapping[str, Measure] = field(default_factory=dict)
    cache: Cache | None = None
    sandbox: "Sandbox | None" = None
    fixtures: "Fixtures | None" = field(default=None, repr=False, compare=False)
    sandboxed: Optional["Route"] = field(init=False, repr=False, compare=False)
    credential_fields: frozenset[bytes] = field(init=False, repr=False, compare=False)
    line_keys: bool = field(init=False, repr=False, compare=False)
    watched: frozenset[int] = field(init=False, repr=False, compare=False)
    keep_bytes: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        renewed = any(one.oauth is not None for one in self.upstream.credentials)
        watched, keeping = self._watched(), self.retry or (RENEWED if renewed else None)
        made = {
            "watched": _same(watched | {UNAUTHORIZED} if renewed else watched),
            "keep_bytes": keeping.max_body_bytes if keeping is not None else 0,
            "line_keys": any(part.source in (KeyFrom.PATH, KeyFrom.QUERY) for part in self.keys),
            "credential_fields": _same(self._kept_back()),
            "sandboxed": self._in_sandbox(self.sandbox) if self.sandbox is not None else None,
        }
        for name, value in made.items():
            object.__setattr__(self, name, value)

    def facing(self, parts: Mapping[str, str | None], headers: Any) -> "Route":
        """This route, or `sandboxed` for who belongs into its sandbox. `headers` as in `resolve.Asking`."""
        held = self.sandbox is not None and self.sandbox.when.holds(parts, headers)
        return self.sandboxed if held and self.sandboxed is not None else self

    def _watched(self) -> frozenset[int]:
        statuses = self.retry.statuses if self.retry is not None else frozenset()
        learning = self.upstream.learning
        return statuses | learning.also_on if TOO_MANY in statuses and learning is not None else statuses

    def _kept_back(self) -> frozenset[bytes]:
        own = {one.header.encode() for one in self.authenticate if not one.forward_credentials}
        read = [part.source_name for part in self.keys if part.source in (KeyFrom.HEADER, KeyFrom.API_KEY)]
        read += [one.header for one in self.authenticate]
        return frozenset(own).union(*(lookalikes(name.encode()) for name in read))

    def _in_sandbox(self, sandbox: "Sandbox") -> "Route":
        untouched = replace(self.upstream, learning=None, pace=None, credentials=(), credentials_optional=False)
        return replace(
            self, upstream=untouched, retry=None, breaker=None, cache=None, sandbox=None, fixtures=sandbox.fixtures
        )


@dataclass(frozen=True, slots=True)
class PolicySet:
    """Everything calls are judged by, as loaded together.

    version  12 hex digits of the content; equal content = equal version
    routes   in the order of precedence: the first that matches wins
    files    the files read, in order
    authentication, retries, breakers, credentials  by name
    classes  what outcomes of attempts mean, on every route
    beside   further files that were read: a change of theirs is a change of the policies
    by_host  the routes by exact host, then by literal first path segment. Host None holds the routes with a wildcard
             host or none; segment None the ones whose first segment is not literal, which are also listed, in order
             of precedence, under every literal segment. Made from `routes`.
    cached   names of upstreams of which some route keeps answers; made from `routes`, and so is
    by_headers  whether header fields decide about any of the routes or operations
    """

    version: str
    routes: tuple[Route, ...]
    limits: Mapping[str, Limit]
    keys: Mapping[str, KeyPart]
    upstreams: Mapping[str, Upstream]
    files: tuple[str, ...] = ()
    loaded_at: str = ""
    authentication: Mapping[str, Scheme] = field(default_factory=dict)
    retries: Mapping[str, Retry] = field(default_factory=dict)
    breakers: Mapping[str, Breaker] = field(default_factory=dict)
    credentials: Mapping[str, Credential] = field(default_factory=dict)
    classes: Classes = DEFAULT
    beside: tuple[str, ...] = ()
    by_host: Mapping[str | None, Mapping[str | None, tuple[Route, ...]]] = field(init=False, repr=False, compare=False)
    cached: frozenset[str] = field(init=False, repr=False, compare=False)
    by_headers: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_host", by_host(self.routes))
        cached = frozenset(route.upstream.name for route in self.routes if route.cache is not None)
        object.__setattr__(self, "cached", cached)
        matches = [match for route in self.routes for match in (route.match, *[one.match for one in route.operations])]
        object.__setattr__(self, "by_headers", any(match.headers for match in matches))
