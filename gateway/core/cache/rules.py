"""A shared cache's rules (RFC 9111): what may be kept, for how long it is fresh, and what it may be used for.

Nothing here reads a clock or keeps anything: `gateway.modules.cache` does. Times are epoch microseconds.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from enum import Enum

from gateway.core.cache.control import MAX_SECONDS, Directives, directives, values
from gateway.core.cache.personal import ANYBODY, AUTHORIZATION, Personal
from gateway.core.http.fields import HOP_BY_HOP, LIMIT_FIELDS, connection_named, lower
from gateway.core.http.framing import Fields
from gateway.core.http.timestamps import http_date, http_date_us
from gateway.core.units import DAY_US, HOUR_US, SECOND_US

UNDERSTOOD = frozenset({200, 203, 204, 300, 301, 302, 303, 307, 308, 404, 405, 410, 414, 501})
"""Whose meaning for caches is known here (`must-understand`)."""
NEVER = frozenset({206, 304, 401, 407, 416, 429})
"""Not kept whatever they say: parts of answers, and what is about one caller."""
BY_TTL = frozenset({200, 203, 204, 300, 301, 308})
"""Answers that are kept for the policy's `ttl` when they do not say."""
ERRORS = frozenset({429, 500, 502, 503, 504})
"""Answers instead of which an old one may be used (RFC 5861 §4); a 429 says as little as a 503 about what was asked."""
VALIDATED_US = HOUR_US
"""For how long behind its freshness an answer is worth keeping that can be validated."""

_NOT_KEPT = (
    HOP_BY_HOP
    | LIMIT_FIELDS
    | {b"age", b"x-request-id", b"trailer", b"content-length", b"server-timing", b"cache-status", b"proxy-status"}
)
_UNCHANGED_BY_304 = _NOT_KEPT | {b"content-encoding", b"content-range", b"content-md5", b"content-digest", b"etag"}
_SECONDS = re.compile(r"[0-9]{1,19}").fullmatch


@dataclass(frozen=True, slots=True)
class Cache:
    """What one route keeps of its upstream's answers.

    methods, paths  of calls that may be answered from it, GET and HEAD at most; paths are matched behind
                 `strip_prefix` (raw segments)
    vary_by      key parts whose values keep callers apart; () = one for all callers
    vary_headers  request fields that keep answers apart besides those that the answers name (lower case)
    ttl_us       how long an answer is fresh that does not say it, from when it came; 0 = such answers are not kept
    override     `ttl_us` holds whatever an answer says, unless that is `no-store` or `private`
    stale_while_revalidate_us, stale_if_error_us  for answers that do not say how long they may be used when stale
    wait_us      the longest that a call waits for the answer to another one
    entry_bytes, size_bytes  bounds on the body of one answer, and on all that is kept: by each worker, and in the store
    personal     which request fields say who is calling; made from what the policy says, besides, with
                 `impersonal_headers`: fields that do not although they are named so
    per_credential  answers to requests with such fields are kept, each for the very same values alone
    shared       whether answers are also kept in the store, for every worker of every gateway
    """

    methods: frozenset[str]
    paths: tuple[tuple[str, ...], ...]
    vary_by: tuple[str, ...]
    vary_headers: tuple[bytes, ...] = ()
    ttl_us: int = 0
    override: bool = False
    stale_while_revalidate_us: int = 0
    stale_if_error_us: int = 0
    wait_us: int = 5_000_000
    entry_bytes: int = 1024 * 1024
    size_bytes: int = 16 * 1024 * 1024
    personal: Personal = ANYBODY
    impersonal_headers: tuple[bytes, ...] = ()
    per_credential: bool = False
    shared: bool = True


CLOCK_SLACK_US = 5 * SECOND_US
"""By so much clocks are put right in daily life."""


@dataclass(frozen=True, slots=True)
class Stored:
    """One answer that is kept.

    fields       those of the answer, without what was said to one hop or to one caller
    age_us       its age when it came (§4.2.3: corrected_initial_age); `at_us` is when that was
    fresh_us     its freshness lifetime (§4.2.1)
    revalidate_us, error_us  how long behind that it may be used while it is validated, or instead of an error
    no_cache     it may not be used before it was validated; must_revalidate: never when stale
    tenant       of the caller whose call brought it; target: what the upstream was asked for
    stamp        names this answer in the shared store; "" = it is not known to be there
    """

    status: int
    reason: str
    fields: Fields
    body: bytes
    at_us: int
    age_us: int
    fresh_us: int
    revalidate_us: int
    error_us: int
    no_cache: bool
    must_revalidate: bool
    tenant: str = ""
    target: str = ""
    stamp: str = field(default="", compare=False)
    size_bytes: int = field(init=False, compare=False)

    def __post_init__(self) -> None:
        size = 512 + len(self.body) + sum(len(name) + len(value) + 32 for name, value in self.fields)
        object.__setattr__(self, "size_bytes", size)

    def age_now_us(self, now_us: int) -> int:
        """§4.2.3: current_age. A clock that was set back makes nothing younger than it was; if that was more than a
        little, nobody knows how old this is: too old."""
        since_us = now_us - self.at_us
        return self.age_us + (max(0, since_us) if since_us > -CLOCK_SLACK_US else DAY_US + self.fresh_us)

    def useful_us(self) -> int:
        """For how long, from `at_us` on, it is good for anything; 0 = not even now."""
        stale_us = 0 if self.must_revalidate else max(self.revalidate_us, self.error_us)
        if values(self.fields, b"etag") or values(self.fields, b"last-modified"):
            stale_us = max(stale_us, VALIDATED_US)
        return max(0, min(self.fresh_us + stale_us - self.age_us, DAY_US))


class Use(Enum):
    """What a stored answer is good for, for one request."""

    FRESH = "hit"
    WHILE_REVALIDATED = "stale"
    VALIDATE = "validate"


def storable(cache: Cache, request: Fields, status: int, answer: Fields) -> bool:
    """Whether §3 allows to keep the answer to a GET, and it is no risk to do so.

    request  the fields that the upstream was sent: what the gateway takes off does not make the answer anybody's own

    Never kept: answers with `Set-Cookie`, with `Vary: *`, with fields about this hop in `Vary`, and NEVER.
    """
    said = directives(answer)
    understood = "must-understand" in said and status in UNDERSTOOD
    if status in NEVER or ("must-understand" in said and not understood) or ("no-store" in said and not understood):
        return False
    if "private" in said or "no-store" in directives(request):
        return False
    if values(answer, b"set-cookie"):
        return False
    if not (cache.per_credential or _for_everybody(said, cache.personal.of(request))):
        return False
    return _explicit(said, answer) or (status in BY_TTL and (cache.ttl_us > 0 or "no-cache" in said))


def _for_everybody(said: Directives, whose: frozenset[bytes]) -> bool:
    """§3.5, for whatever says who is calling. What `must-revalidate` allows (§5.2.2.2) is about Authorization alone."""
    if not whose or "public" in said or "s-maxage" in said:
        return True
    return whose == {AUTHORIZATION} and "must-revalidate" in said


def _explicit(said: Directives, answer: Fields) -> bool:
    """Whether the answer says for how long it is fresh, or how that is found out."""
    return "s-maxage" in said or "max-age" in said or bool(values(answer, b"expires"))


def keep(
    cache: Cache,
    status: int,
    reason: str,
    answer: Fields,
    body: bytes,
    *,
    asked_us: int,
    now_us: int,
    tenant: str = "",
    target: str = "",
) -> Stored:
    """The answer as it is kept. `asked_us` is when the request was sent."""
    said = directives(answer)
    by_policy = status in BY_TTL and (cache.override or not _explicit(said, answer))
    revalidate_s, error_s = said.seconds("stale-while-revalidate"), said.seconds("stale-if-error")
    age_us = _initial_age_us(answer, asked_us, now_us)
    return Stored(
        status=status,
        reason=reason,
        fields=_dated(kept_fields(answer), now_us),
        body=body,
        at_us=now_us,
        age_us=age_us,
        fresh_us=age_us + cache.ttl_us if by_policy else _lifetime_us(said, answer, now_us),
        revalidate_us=cache.stale_while_revalidate_us if revalidate_s is None else revalidate_s * SECOND_US,
        error_us=cache.stale_if_error_us if error_s is None else error_s * SECOND_US,
        no_cache="no-cache" in said and not cache.override,
        must_revalidate=_must_revalidate(said),
        tenant=tenant,
        target=target,
    )


def _dated(fields: Fields, now_us: int) -> Fields:
    """RFC 9110 §6.6.1: an answer without a date has the one of its coming."""
    if values(fields, b"date"):
        return fields
    return (*fields, (b"Date", http_date(now_us).encode("ascii")))


def _must_revalidate(said: Directives) -> bool:
    """`s-maxage` says it too (§5.2.2.10), unless the answer itself allows to use it stale (RFC 5861)."""
    if "must-revalidate" in said or "proxy-revalidate" in said:
        return True
    return "s-maxage" in said and not ("stale-while-revalidate" in said or "stale-if-error" in said)


def _lifetime_us(said: Directives, answer: Fields, now_us: int) -> int:
    """§4.2.1. An `Expires` that is no date, or one of several, has passed. There are no heuristics."""
    for name in ("s-maxage", "max-age"):
        seconds = said.seconds(name)
        if seconds is not None:
            return seconds * SECOND_US
    expires = {http_date_us(value, now_us) for value in values(answer, b"expires")}
    until_us = expires.pop() if len(expires) == 1 else None
    return max(0, until_us - _date_us(answer, now_us)) if until_us is not None else 0


def _date_us(answer: Fields, now_us: int) -> int:
    dates = values(answer, b"date")
    date_us = http_date_us(dates[0], now_us) if dates else None
    return now_us if date_us is None else date_us


def _initial_age_us(answer: Fields, asked_us: int, now_us: int) -> int:
    """§4.2.3: how old the answer was when it came. An age that is not one number is the greatest there is."""
    ages = values(answer, b"age") or ["0"]
    age_s = int(ages[0]) if len(ages) == 1 and _SECONDS(ages[0]) else MAX_SECONDS
    apparent_us = max(0, now_us - _date_us(answer, now_us))
    return max(apparent_us, min(age_s, MAX_SECONDS) * SECOND_US + max(0, now_us - asked_us))


def kept_fields(answer: Fields, drop: Collection[bytes] = _NOT_KEPT) -> Fields:
    """§3.1: without what was meant for this hop, and without what upstreams say about one caller's quota."""
    named = connection_named(",".join(values(answer, b"connection")), ())
    return tuple(one for one in answer if lower[one[0]] not in drop and lower[one[0]] not in named)


def refreshed(cache: Cache, old: Stored, answer: Fields, *, asked_us: int, now_us: int) -> Stored:
    """§4.3.4: what is kept, after a 304 with these fields has said that it is still right."""
    newer = kept_fields(answer, _UNCHANGED_BY_304)
    names = {b"date", *(lower[name] for name, _ in newer)}  # one without a date is of now
    fields = tuple(one for one in old.fields if lower[one[0]] not in names) + newer
    aged = fields + tuple(one for one in answer if lower[one[0]] == b"age")
    return keep(
        cache,
        old.status,
        old.reason,
        aged,
        old.body,
        asked_us=asked_us,
        now_us=now_us,
        tenant=old.tenant,
        target=old.target,
    )


def use(stored: Stored, wanted: Directives, now_us: int) -> Use:
    """What the stored answer is good for, for a request with these directives (§4.2, §5.2.1)."""
    age_us = stored.age_now_us(now_us)
    most_us = wanted.seconds("max-age")
    if stored.no_cache or "no-cache" in wanted or (most_us is not None and age_us > most_us * SECOND_US):
        return Use.VALIDATE
    left_us = stored.fresh_us - age_us
    if left_us > 0 and left_us >= (wanted.seconds("min-fresh") or 0) * SECOND_US:
        return Use.FRESH
    if left_us > 0 or stored.must_revalidate:
        return Use.VALIDATE
    if _takes_stale(wanted, -left_us):
        return Use.FRESH
    return Use.WHILE_REVALIDATED if -left_us < stored.revalidate_us else Use.VALIDATE


def _takes_stale(wanted: Directives, stale_us: int) -> bool:
    """`max-stale` without a number takes anything."""
    most_s = wanted.seconds("max-stale")
    return most_s is not None and (wanted.bare("max-stale") or stale_us <= most_s * SECOND_US)


def instead_of_error(stored: Stored, wanted: Directives, now_us: int) -> bool:
    """Whether it may be used because the upstream cannot be asked (RFC 5861 §4, RFC 9111 §4.2.4).

    Not behind `must-revalidate`, `no-cache` or a caller's own `no-cache`.
    """
    if stored.must_revalidate or stored.no_cache or "no-cache" in wanted:
        return False
    stale_us = stored.age_now_us(now_us) - stored.fresh_us
    allowed_s = wanted.seconds("stale-if-error")
    allowed_us = stored.error_us if allowed_s is None else max(stored.error_us, allowed_s * SECOND_US)
    return stale_us <= allowed_us
