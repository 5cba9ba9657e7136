"""The compiled policy set: frozen, complete, ready for use. A call keeps the set it began with.

Built by `gateway.policy` from YAML; the core only reads it. Everything that can be computed at load time is
a field here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Optional

from gateway.core.authentication import Scheme
from gateway.core.cache.rules import Cache
from gateway.core.classes import DEFAULT, Classes
from gateway.core.credentials import Credential
from gateway.core.fields import lookalikes
from gateway.core.guards import Breaker
from gateway.core.limits import Limit
from gateway.core.measure import Measure
from gateway.core.retry import RENEWED, UNAUTHORIZED, Retry
from gateway.core.route_index import by_host
from gateway.core.signals import Honor

if TYPE_CHECKING:
    from gateway.core.sandbox import Fixtures, Sandbox


class KeyFrom(StrEnum):
    """Where a key part's value comes from."""

    HEADER = "header"
    PATH = "path"
    QUERY = "query"
    CLIENT_IP = "client_ip"
    API_KEY = "api_key"
    API_KEY_ENTRY = "api_key_entry"
    JWT = "jwt"


VOUCHED = (KeyFrom.API_KEY_ENTRY, KeyFrom.JWT)
"""Sources that are read from a verified identity, never from what a request merely says."""


class OnMissing(StrEnum):
    """What a limit does when one of its key parts has no value."""

    REJECT = "reject"
    SKIP = "skip"
    ANONYMOUS = "anonymous"


@dataclass(frozen=True, slots=True)
class KeyPart:
    """How to read one key part from a request.

    source_name  header: field name, lower case. path: name of a `{parameter}` of the route's path pattern.
                 query: parameter name. api_key: header that carries the key, lower case. client_ip: unused.
                 jwt: name of the claim. api_key_entry: unused, an entry names key parts.
    ipv6_prefix  client_ip only: IPv6 addresses count by this prefix length
    """

    name: str
    source: KeyFrom
    source_name: str
    on_missing: OnMissing
    ipv6_prefix: int = 64


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
class Timeouts:
    """Per-phase bounds of one attempt, microseconds. `total_us` ends even a flowing answer; 0 = no such bound."""

    connect_us: int = 2_000_000
    first_byte_us: int = 20_000_000
    idle_us: int = 30_000_000
    total_us: int = 0


@dataclass(frozen=True, slots=True)
class Learning:
    """What is learned from an upstream's answers: how long to leave one value of the key part `scope` alone.

    honor   families of fields that are listened to
    max_us  nothing that is learned holds for longer
    as_limit  whether no more calls are sent than the upstream says are left
    """

    honor: tuple[Honor, ...]
    scope: str
    max_us: int = 900_000_000
    as_limit: bool = False


@dataclass(frozen=True, slots=True)
class Pace:
    """Attempts are sent one after the other, `rate` every `per_us`, up to `burst` at once after a rest.

    key          names of the key parts whose values have a pace of their own; () = one for all
    queue        attempts that may wait for their turn; more are refused
    max_wait_us  the longest that one of them waits
    """

    rate: int
    per_us: int
    burst: int = 1
    key: tuple[str, ...] = ()
    queue: int = 100
    max_wait_us: int = 10_000_000


@dataclass(frozen=True, slots=True)
class Probe:
    """What an upstream is asked to see whether it is well.

    path         below the upstream's own
    expect       statuses that are well; empty = any below 500
    interval_us  how often its connections are asked without an operator's doing; 0 = never
    """

    method: str = "GET"
    path: str = "/"
    expect: frozenset[int] = frozenset()
    interval_us: int = 0


@dataclass(frozen=True, slots=True)
class Upstream:
    """One upstream API.

    host, port   where to connect; `builtin_echo` replaces both by the sample upstream inside the gateway
    base_path    path of the configured URL without trailing `/`; put before the forwarded path
    max_sockets  sockets in use at once per worker; 0 = no bound
    unix_path    connect to this unix socket instead of host and port
    allow_private  whether names may resolve to addresses that are not globally routable
    tls_*        PEM files for verification and client authentication, and a server name other than the host
    authority    value of the Host field when host_policy is `rewrite`
    learning, pace  None = nothing is learned from its answers, attempts are not paced
    credentials     what it is shown, in the order in which they are tried; () = what the caller sends. With
                    `credentials_optional` callers whom none is for are passed on as they come, else refused
    probe           what connection tests ask; None = what `Probe` says
                    These five do not make it another upstream: its sockets are kept when they change.
    """

    name: str
    scheme: str
    host: str
    port: int
    authority: str
    base_path: str = ""
    rewrite_host: bool = True
    timeouts: Timeouts = field(default_factory=Timeouts)
    max_sockets: int = 0
    builtin_echo: bool = False
    unix_path: str = ""
    allow_private: bool = True
    tls_ca_file: str = ""
    tls_certificate: str = ""
    tls_key: str = ""
    tls_server_name: str = ""
    source: str = field(default="", compare=False)
    learning: Learning | None = field(default=None, compare=False)
    pace: Pace | None = field(default=None, compare=False)
    credentials: tuple[Credential, ...] = field(default=(), compare=False)
    credentials_optional: bool = field(default=False, compare=False)
    probe: Probe | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Operation:
    """A named kind of call on a route; the first whose match holds.

    cost      units by limit name, reserved ones where `measures` says how the real number is found; what the route
              says of other limits is here too
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
    watched       statuses that another attempt may follow: those of `retry`, and 401 where tokens are renewed
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
        watched = self.retry.statuses if self.retry is not None else frozenset()
        object.__setattr__(self, "watched", watched | {UNAUTHORIZED} if renewed else watched)
        keeping = self.retry or (RENEWED if renewed else None)
        object.__setattr__(self, "keep_bytes", keeping.max_body_bytes if keeping is not None else 0)
        object.__setattr__(self, "line_keys", any(part.source in (KeyFrom.PATH, KeyFrom.QUERY) for part in self.keys))
        kept_back = {one.header.encode() for one in self.authenticate if not one.forward_credentials}
        callers = [part.source_name for part in self.keys if part.source in (KeyFrom.HEADER, KeyFrom.API_KEY)]
        for name in (*callers, *(one.header for one in self.authenticate)):
            kept_back |= lookalikes(name.encode())
        object.__setattr__(self, "credential_fields", frozenset(kept_back))
        object.__setattr__(self, "sandboxed", self._in_sandbox(self.sandbox) if self.sandbox is not None else None)

    def facing(self, parts: Mapping[str, str | None], headers: Any) -> "Route":
        """This route, or `sandboxed` for who belongs into its sandbox. `headers` as in `resolve.Asking`."""
        held = self.sandbox is not None and self.sandbox.when.holds(parts, headers)
        return self.sandboxed if held and self.sandboxed is not None else self

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
    cached   names of upstreams of which some route keeps answers; made from `routes`
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

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_host", by_host(self.routes))
        cached = frozenset(route.upstream.name for route in self.routes if route.cache is not None)
        object.__setattr__(self, "cached", cached)
