"""Parts of the language whose shape is settled but which do not act yet.

They are read and checked so that files can be written for them; loading warns that they are not in effect.
"""

from pydantic import Field

from gateway.policy.scalars import Duration, HeaderName, Method, OneOrMore, Pattern
from gateway.policy.strict import Items, Strict


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
