"""Parts of the language whose shape is settled but which do not act yet.

They are read and checked so that files can be written for them; loading warns that they are not in effect.
"""

from pydantic import Field

from gateway.policy.caching import Cache
from gateway.policy.scalars import HeaderName
from gateway.policy.strict import Strict


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
