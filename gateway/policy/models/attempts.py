"""The models of what surrounds an attempt at an upstream: retries, breakers, error classes, learned limits, pace."""

from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from gateway.policy.findings import quoted
from gateway.policy.models.scalars import (
    Duration,
    DurationBound,
    HeaderName,
    Method,
    OneOrMore,
    Percent,
    Pointer,
    Size,
    Unfit,
    Units,
    described,
)
from gateway.policy.models.strict import Items, Strict

LimitField = Literal["Retry-After", "RateLimit", "X-RateLimit-Reset"]
EVERY_LIMIT_FIELD: Final = ("Retry-After", "RateLimit", "X-RateLimit-Reset")
ErrorKind = Literal["connect", "timeout", "tls", "reset", "reset_before_response", "malformed"]
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


class Backoff(Strict):
    """How long to wait before each further attempt: a schedule, or exponential with jitter."""

    schedule: Items[Duration] | None = Field(default=None, min_length=1, description="waits; the last one repeats")
    jitter: Percent | None = Field(default=None, description="how much longer a wait may become")
    base: Duration | None = Field(default=None, description="exponential: the first wait at most, doubled each time")
    max: Duration | None = Field(default=None, description="exponential: no wait is longer")


class RetryBudget(Strict):
    """How many retries there may be beside first attempts."""

    percent: int = Field(default=20, ge=0, le=100)
    min_concurrent: int = Field(default=3, ge=0, le=1000)


def parse_budget(value: object) -> object:
    """`none` is no budget."""
    if value is None:
        raise Unfit("wrong-type", "expected a mapping or none, got nothing")
    return None if value == "none" else value


def _none_is_a_word(schema: dict[str, Any]) -> None:
    schema["anyOf"] = [{"const": "none"} if option == {"type": "null"} else option for option in schema["anyOf"]]


Budget = Annotated[
    RetryBudget | None, BeforeValidator(parse_budget), Field(json_schema_extra=_none_is_a_word, description="or none")
]


class OnExhausted(Strict):
    """What to tell when every attempt failed."""

    log: Literal["debug", "info", "warning", "error"] = "error"
    event: Literal["upstream.gave_up", "none"] = "upstream.gave_up"


class Retry(Strict):
    """What is tried again, when, and how often."""

    attempts: int = Field(ge=1, le=20, description="counts the first")
    backoff: Backoff = Backoff()
    on_status: Items[Status] = ("429", "500", "502", "503", "504")
    on_error: Items[ErrorKind] = ("connect", "reset_before_response")
    methods: Items[Method] = ("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE")
    non_idempotent: Literal["never", "with_idempotency_key", "always"] = "with_idempotency_key"
    honor: Items[LimitField] = EVERY_LIMIT_FIELD
    max_wait: Duration = Field(default=30_000_000, description="the upstream asks for more: answer now")
    max_body: Size = Field(default=1024 * 1024, description="larger request bodies are not kept for another attempt")
    per_try: Duration | None = Field(
        default=None, description="an attempt not connected, or then not answered, by then has failed"
    )
    total: DurationBound = Field(default=0, description="for all attempts and waits together")
    budget: Budget = RetryBudget()
    on_exhausted: OnExhausted = OnExhausted()


class ErrorClass(Strict):
    """What an answer or a failure means for retries, breakers and the state of the connection."""

    status: Items[Status] = ()
    error: Items[ErrorKind] = ()
    retry: bool = Field(default=True, description="false: never, whatever retries say")
    breaker: Literal["ignore", "failure", "success"] = "ignore"
    pause: str | None = Field(default=None, description="key part to leave alone for as long as it asks, or everybody")
    connection_state: (
        Literal["online", "degraded", "offline", "auth_required", "permission_denied", "rate_limited"] | None
    ) = None


MOST_WORDS = 100
_WORD = {"anyOf": [{"type": "string"}, {"type": "integer"}]}


def parse_word(value: object) -> object:
    """A text or a whole number."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise Unfit("wrong-type", f"expected text or a whole number, got {described(value)}")
    return value


Words = Annotated[
    tuple[Annotated[str | int, BeforeValidator(parse_word)], ...],
    BeforeValidator(lambda value: value if isinstance(value, list) else [value]),
    Field(strict=False, min_length=1, max_length=MOST_WORDS),
    WithJsonSchema(
        {"anyOf": [*_WORD["anyOf"], {"type": "array", "items": _WORD, "minItems": 1, "maxItems": MOST_WORDS}]}
    ),
]


class Wording(Strict):
    """What the JSON of an answer says that is taken for a 429."""

    status: Items[Status] = Field(min_length=1, description="the answers that are looked at")
    pointer: Pointer = Field(description="where in their JSON (RFC 6901)")
    values: Words = Field(alias="is", description="any of these texts or whole numbers")


class OwnFields(Strict):
    """Fields of the upstream's own that say what is left: `remaining` or `used`, with `reset` or `window`."""

    remaining: HeaderName | None = Field(default=None, description="the field that says how many calls are left")
    used: HeaderName | None = Field(default=None, description="or how many are used of how many, as `39/40`")
    reset: HeaderName | None = Field(default=None, description="the field that says when more are there")
    window: Duration | None = Field(default=None, description="or the time after which more are there")


class LearnLimits(Strict):
    """Which answers of the upstream pause a caller, or everybody, and for how long at most."""

    source: OneOrMore[LimitField] = Field(default=EVERY_LIMIT_FIELD, alias="from")
    scope: OneOrMore[str] = Field(description="key parts that are left alone, or everybody")
    max: Duration = 900_000_000
    also_on: Items[Status] = Field(
        default=(), description="statuses that are taken for a 429 where the answer asks to wait, as [403, 503]"
    )
    also_when: Items[Wording] = Field(
        default=(), max_length=20, description="what bodies say of answers that are taken for a 429"
    )
    also_from: Items[OwnFields] = Field(
        default=(), max_length=20, description="fields of its own that are listened to as well"
    )
    otherwise: Duration | None = Field(default=None, description="the pause after a 429 that says no time")
    as_limit: bool = Field(default=False, description="send no more calls than the upstream says are left")


class Pace(Strict):
    """Attempts follow each other at this rate: those that come too early wait for their turn."""

    rate: Units
    per: Duration
    burst: Units = 1
    key: Items[str] = Field(default=(), description="key parts that have a pace of their own; [] = one for all")
    queue: int = Field(default=100, ge=0, le=100_000, description="attempts that may wait; more are refused")
    max_wait: Duration = 10_000_000


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
