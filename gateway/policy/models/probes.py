"""What connection tests ask upstreams, as it is written."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from gateway.policy.models.attempts import Status
from gateway.policy.models.paths import parse_path
from gateway.policy.models.scalars import Duration
from gateway.policy.models.strict import Items, Strict


class Probe(Strict):
    """What connection tests ask an upstream."""

    path: Annotated[str, BeforeValidator(parse_path), WithJsonSchema({"type": "string", "pattern": "^/"})] = Field(
        default="/", description="what is asked, below the upstream's own path"
    )
    method: Literal["GET", "HEAD", "OPTIONS"] = Field(default="GET", description="how it is asked")
    expect: Items[Status] = Field(default=(), description="statuses that are well, as [200, 3xx]; default: below 500")
    interval: Duration | None = Field(default=None, description="how often connections are tested by themselves")
