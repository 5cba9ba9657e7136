"""Parts of the language whose shape is settled but which do not act yet.

They are read and checked so that files can be written for them; loading warns that they are not in effect.
"""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from gateway.policy.findings import quoted
from gateway.policy.scalars import (
    Duration,
    HeaderName,
    Method,
    OneOrMore,
    Pattern,
    Percent,
    Size,
    Unfit,
    Units,
    described,
)
from gateway.policy.strict import Items, Strict

LimitField = Literal["Retry-After", "RateLimit", "X-RateLimit-Reset"]


_CLASSES = ("1xx", "2xx", "3xx", "4xx", "5xx")


def parse_status(value: object) -> str:
    """`503` or `5xx`."""
    if isinstance(value, int) and not isinstance(value, bool) and 100 <= value <= 599:
        return str(value)
    if isinstance(value, str) and value in _CLASSES:
        return value
    shown = quoted(value) if isinstance(value, str) else described(value)
    raise Unfit("bad-status", f"expected a status like 503 or 5xx, got {shown}")


Status = Annotated[
    str,
    BeforeValidator(parse_status),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 100, "maximum": 599}, {"enum": list(_CLASSES)}]}),
]
ErrorKind = Literal["connect", "timeout", "tls", "reset", "reset_before_response"]


class SlowCall(Strict):
    """When a call counts as slow, and how many may be."""

    duration: Duration
    rate: Percent


class Breaker(Strict):
    """When a connection is left alone, and how it is tried again."""

    key: Items[str]
    scope: Literal["shared", "local"] = "shared"
    window: Duration = 60_000_000
    minimum_calls: Units = 10
    failure_rate: Percent | None = None
    consecutive_failures: Units | None = None
    slow_call: SlowCall | None = None
    open_for: Duration = 30_000_000
    open_backoff: Units | float = 1
    max_open_for: Duration = 300_000_000
    half_open_calls: Units = 1
    close_after: Units = 1


class Backoff(Strict):
    """How long to wait before each further attempt."""

    schedule: Items[Duration] = Field(min_length=1)
    jitter: Percent | None = None


class RetryBudget(Strict):
    """How many retries there may be beside first attempts."""

    percent: int = Field(default=20, ge=0, le=100)
    min_concurrent: int = Field(default=3, ge=0)


class OnExhausted(Strict):
    """What to tell when every attempt failed."""

    log: Literal["debug", "info", "warning", "error"] = "error"
    event: str = "upstream.gave_up"


class Retry(Strict):
    """What is tried again, when, and how often."""

    attempts: int = Field(ge=1, le=20, description="counts the first")
    backoff: Backoff | None = None
    on_status: Items[Status] = ()
    on_error: Items[ErrorKind] = ()
    methods: Items[Method] = ()
    non_idempotent: Literal["never", "with_idempotency_key", "always"] = "with_idempotency_key"
    honor: Items[LimitField] = ()
    max_wait: Duration = 30_000_000
    max_body: Size = 1024 * 1024
    budget: RetryBudget = RetryBudget()
    on_exhausted: OnExhausted = OnExhausted()


class ErrorClass(Strict):
    """What an answer or a failure means for retries, breakers and the state of the connection."""

    status: Items[Status] = ()
    error: Items[ErrorKind] = ()
    retry: bool
    breaker: Literal["ignore", "failure", "success"] = "ignore"
    pause: str | None = None
    connection_state: (
        Literal["online", "degraded", "offline", "auth_required", "permission_denied", "rate_limited"] | None
    ) = None


class LearnLimits(Strict):
    """Which answers of the upstream pause a connection, and for how long at most."""

    source: OneOrMore[LimitField] = Field(alias="from")
    scope: str
    max: Duration = 900_000_000


class CacheMatch(Strict):
    """Which calls may be answered from the cache."""

    method: OneOrMore[Method] = ("GET",)
    path: OneOrMore[Pattern] = Field(min_length=1)


class Cache(Strict):
    """Answers kept for a while."""

    ttl: Duration
    match: CacheMatch
    vary_by: Items[str]


class SandboxWhen(Strict):
    """Which calls go to the sandbox."""

    header: HeaderName
    prefix: str = Field(min_length=1)


class Sandbox(Strict):
    """Sample answers instead of the upstream."""

    when: SandboxWhen
    fixtures: str


class Modules(Strict):
    """Optional parts of a route."""

    cache: Cache | None = None
    sandbox: Sandbox | None = None
