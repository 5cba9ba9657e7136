"""Key parts as they are written: where the values come from that limits count by."""

from typing import Annotated, Literal

from pydantic import Field

from gateway.policy.models.scalars import HeaderName
from gateway.policy.models.strict import Strict

Missing = Literal["reject", "skip", "anonymous"]


class HeaderKey(Strict):
    """A key part read from a request header."""

    source: Literal["header"] = Field(alias="from")
    name: HeaderName
    on_missing: Missing


class PathKey(Strict):
    """A key part read from a `{name}` of the route's path."""

    source: Literal["path"] = Field(alias="from")
    name: str
    on_missing: Missing


class QueryKey(Strict):
    """A key part read from a query parameter."""

    source: Literal["query"] = Field(alias="from")
    name: str = Field(min_length=1)
    on_missing: Missing


class ClientIpKey(Strict):
    """The caller's address, behind trusted proxies; IPv6 counts by network."""

    source: Literal["client_ip"] = Field(alias="from")
    ipv6_prefix: int = Field(default=64, ge=1, le=128)
    on_missing: Missing = "anonymous"


class ApiKeyKey(Strict):
    """A hash of the API key that a request header carries."""

    source: Literal["api_key"] = Field(alias="from")
    name: HeaderName = "x-api-key"
    on_missing: Missing


class ApiKeyEntryKey(Strict):
    """What the entry of the caller's API key says under this part's name."""

    source: Literal["api_key_entry"] = Field(alias="from")
    on_missing: Missing


class JwtKey(Strict):
    """A claim of the caller's token; of a caller with an API key, as `api_key_entry`."""

    source: Literal["jwt"] = Field(alias="from")
    claim: str = Field(min_length=1)
    on_missing: Missing


Key = Annotated[
    HeaderKey | PathKey | QueryKey | ClientIpKey | ApiKeyKey | ApiKeyEntryKey | JwtKey, Field(discriminator="source")
]
