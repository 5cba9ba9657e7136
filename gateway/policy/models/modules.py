"""Optional parts of a route, all off unless they are written."""

from pydantic import Field

from gateway.policy.models.cache import Cache
from gateway.policy.models.scalars import HeaderName
from gateway.policy.models.strict import Items, Strict


class SandboxWhen(Strict):
    """Which calls go to the sandbox: by what a header, or a key part, says."""

    header: HeaderName | None = None
    key: str | None = None
    values: Items[str] = Field(default=(), description="whole values")
    prefix: str | None = Field(default=None, min_length=1, description="what values begin with")


class Sandbox(Strict):
    """Sample answers instead of the upstream's."""

    when: SandboxWhen
    fixtures: str = Field(min_length=1, description="a file, or a directory with a fixtures.yaml")


class Modules(Strict):
    """Optional parts of a route."""

    cache: Cache | None = None
    sandbox: Sandbox | None = None
