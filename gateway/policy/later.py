"""Parts of the language whose shape is settled but which do not act yet.

They are read and checked so that files can be written for them; loading warns that they are not in effect.
"""

from typing import Literal

from pydantic import Field

from gateway.policy.scalars import Duration, HeaderName, Method, OneOrMore, Pattern, Percent, Units
from gateway.policy.strict import Items, Strict


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
