"""What may be written about a route's cache."""

from typing import Literal

from pydantic import Field

from gateway.policy.models.paths import Pattern
from gateway.policy.models.scalars import Duration, HeaderName, OneOrMore, Size, Wait
from gateway.policy.models.strict import Items, Strict


class CacheMatch(Strict):
    """Which calls may be answered from the cache; paths are relative to what `strip_prefix` leaves."""

    method: OneOrMore[Literal["GET", "HEAD"]] = ("GET", "HEAD")
    path: OneOrMore[Pattern] = Field(min_length=1)


class Cache(Strict):
    """Answers of the upstream that are kept for a while, by the rules of RFC 9111."""

    match: CacheMatch
    vary_by: Items[str] = Field(description="key parts whose values never share an answer; [] = one for all callers")
    ttl: Wait = Field(description="how long an answer is fresh that does not say so; 0s = such answers are not kept")
    override: bool = Field(
        default=False, description="ttl holds whatever an answer says, unless that is no-store or private"
    )
    vary_headers: Items[HeaderName] = Field(default=(), description="fields that answers depend on without saying so")
    per_credential: bool = Field(
        default=False, description="keep answers to calls with credentials, each for the very same ones alone"
    )
    impersonal_headers: Items[HeaderName] = Field(
        default=(), description="fields that look like credentials and do not say who is calling"
    )
    stale_while_revalidate: Wait = Field(default=0, description="where answers do not say it themselves")
    stale_if_error: Wait = Field(default=0, description="where answers do not say it themselves")
    wait: Duration = Field(default=5_000_000, description="the longest that a call waits for another one's answer")
    max_entry: Size = Field(default=1024**2, description="bound on the body of one answer")
    max_size: Size = Field(default=16 * 1024**2, description="bound on all answers, in each worker and in the store")
    store: Literal["shared", "local"] = Field(
        default="shared", description="shared: also in the store, for every gateway; local: in each worker alone"
    )
