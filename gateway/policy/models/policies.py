"""The policy language as pydantic models: what may be written, with every default.

One model per thing that can stand under a key. They check one entry by itself; what entries say about each other is
checked where they are put together (`gateway.policy.compile`). The JSON schema for editors is made from them.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from gateway.policy.models.attempts import Breaker, ErrorClass, LearnLimits, Pace, Retry
from gateway.policy.models.authentication import Required, Scheme
from gateway.policy.models.costs import Cost
from gateway.policy.models.credentials import Credential
from gateway.policy.models.key_parts import Key
from gateway.policy.models.modules import Modules
from gateway.policy.models.paths import Pattern, Prefix
from gateway.policy.models.probes import Probe
from gateway.policy.models.scalars import (
    Duration,
    DurationBound,
    HeaderName,
    Host,
    Method,
    OneOrMore,
    Sentence,
    Units,
    Window,
    Zone,
)
from gateway.policy.models.strict import Items, Strict
from gateway.policy.models.url import UpstreamUrl

Mode = Literal["enforce", "shadow", "off"]


# -- limits


class _Override(Strict):
    match: dict[str, str] = Field(min_length=1, max_length=8, description="values of key parts; all must be equal")
    mode: Mode | None = None


class RollingOverride(_Override):
    """Other numbers of a rolling window for some callers."""

    limit: Units | None = None
    window: Duration | None = None
    precision: Units | None = None


class FixedOverride(_Override):
    """Other numbers of a fixed window for some callers."""

    limit: Units | None = None
    window: Window | None = None
    timezone: Zone | None = None


class BucketOverride(_Override):
    """Other numbers of a token bucket for some callers."""

    rate: Units | None = None
    per: Duration | None = None
    burst: Units | None = None


class ConcurrencyOverride(_Override):
    """Another number of slots for some callers."""

    limit: Units | None = None
    lease: Duration | None = None


class Variant(Strict):
    """A limit to try beside the real one: its numbers, or another algorithm with all of its numbers."""

    algorithm: Literal["rolling_window", "fixed_window", "token_bucket", "concurrency"] | None = None
    limit: Units | None = None
    window: Window | None = None
    timezone: Zone | None = None
    precision: Units | None = None
    rate: Units | None = None
    per: Duration | None = None
    burst: Units | None = None
    lease: Duration | None = None


class OwnAnswer(Strict):
    """What callers that this limit refuses are told."""

    status: Literal[402, 403, 409, 429, 503] = Field(default=429, description="of the answer")
    detail: Sentence | None = Field(default=None, description="default: a sentence with its numbers")


class _Limit(Strict):
    key: Items[str] = Field(description="key parts it counts by; [] counts everybody together")
    mode: Mode = "enforce"
    charge: Literal["per_call", "per_attempt"] = "per_call"
    on_store_error: Literal["local", "allow", "deny"] = "local"
    shadow: Variant | None = None
    refusal: OwnAnswer = Field(default=OwnAnswer(), description="what callers that it refuses are told")


class RollingWindow(_Limit):
    """At most `limit` units in any span of `window`."""

    algorithm: Literal["rolling_window"]
    limit: Units
    window: Duration
    precision: Units | None = Field(default=None, description="count in this many steps per window; bounds the memory")
    overrides: Items[RollingOverride] = ()


class FixedWindow(_Limit):
    """At most `limit` units between two borders that lie `window` apart, or in each day, week or month."""

    algorithm: Literal["fixed_window"]
    limit: Units
    window: Window
    timezone: Zone | None = Field(default=None, description="whose midnight a day begins at; default: UTC")
    overrides: Items[FixedOverride] = ()


class TokenBucket(_Limit):
    """`burst` units at once, then `rate` every `per`."""

    algorithm: Literal["token_bucket"]
    rate: Units
    per: Duration
    burst: Units | None = Field(default=None, description="default: rate")
    overrides: Items[BucketOverride] = ()


class Concurrency(_Limit):
    """At most `limit` calls at the same time."""

    algorithm: Literal["concurrency"]
    limit: Units
    lease: Duration = Field(default=60_000_000, description="a slot of a gateway that died is free after this long")
    overrides: Items[ConcurrencyOverride] = ()


AnyLimit = RollingWindow | FixedWindow | TokenBucket | Concurrency
Limit = Annotated[AnyLimit, Field(discriminator="algorithm")]


# -- upstreams


class Timeouts(Strict):
    """Bounds of one attempt."""

    connect: Duration = 2_000_000
    first_byte: Duration = 20_000_000
    idle: Duration = 30_000_000
    total: DurationBound = 0


class UpstreamTls(Strict):
    """How to verify an https upstream, and with what to identify towards it (PEM files)."""

    ca_file: str = ""
    certificate: str = ""
    key: str = ""
    server_name: str = ""


class Upstream(Strict):
    """One upstream API."""

    url: UpstreamUrl
    host: Literal["rewrite", "pass"] = "rewrite"
    timeouts: Timeouts = Timeouts()
    max_sockets: int = Field(default=0, ge=0, description="sockets in use at once per worker; 0 = no bound")
    allow_private: bool = Field(default=True, description="whether the name may resolve to private addresses")
    tls: UpstreamTls = UpstreamTls()
    learn_limits: LearnLimits | None = None
    pace: Pace | None = None
    credentials: Literal["required", "optional"] = Field(
        default="required",
        description="what happens to callers without an entry in `credentials`: refused, or passed on",
    )
    probe: Probe | None = Field(default=None, description="what connection tests ask")
    goes_on: Duration | None = Field(
        default=None, description="how long it may go on with a call that was given up, which keeps its slots"
    )


# -- routes


class OperationMatch(Strict):
    """Conditions on a call of a route; paths are relative to what `strip_prefix` leaves."""

    path_prefix: Prefix | None = None
    path: Pattern | None = None
    method: OneOrMore[Method] = ()
    header: dict[HeaderName, str] = Field(default={}, description='"*" = present')


class RouteMatch(OperationMatch):
    """Conditions on a call; all must hold."""

    host: Host | None = None


class Operation(Strict):
    """A named kind of call, and what it costs."""

    name: str = Field(min_length=1, max_length=64)
    entity: str = Field(default="", max_length=64)
    match: OperationMatch = OperationMatch()
    cost: dict[str, Cost] = Field(
        default={}, description="units by limit, 0: not asked; what the route says where not given"
    )


class Route(Strict):
    """What happens to the calls it matches."""

    name: str = Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")
    match: RouteMatch = RouteMatch()
    upstream: str
    strip_prefix: Prefix | None = None
    authenticate: Items[str] = Field(default=(), description="schemes, one of which must know the caller; [] = none")
    require: dict[str, Required] = Field(default={}, description="claims that the credentials must have")
    limits: Items[str] = ()
    breaker: str | None = None
    retry: str | None = None
    operations: Items[Operation] = ()
    cost: dict[str, Cost] = Field(default={}, description="units by limit, 0: not asked; 1 where not given")
    modules: Modules = Modules()


class PolicyFile(BaseModel):
    """Rules for calls through the gateway: who is asking, what is limited, and where calls go."""

    model_config = ConfigDict(extra="forbid", title="Gateway policies")

    version: Literal[1] = 1
    authentication: dict[str, Scheme] = {}
    keys: dict[str, Key] = Field(default={})
    limits: dict[str, Limit] = {}
    breakers: dict[str, Breaker] = {}
    retries: dict[str, Retry] = {}
    error_classes: dict[str, ErrorClass] = {}
    upstreams: dict[str, Upstream] = {}
    credentials: dict[str, Credential] = {}
    routes: Items[Route] = ()


ENTRY_TYPES: dict[str, Any] = {
    "authentication": Scheme,
    "keys": Key,
    "limits": Limit,
    "breakers": Breaker,
    "retries": Retry,
    "error_classes": ErrorClass,
    "upstreams": Upstream,
    "credentials": Credential,
    "routes": Route,
}
"""What one entry of each section is, in the order in which the sections are explained."""
