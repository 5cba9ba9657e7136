"""What an upstream's answer asks of those who call it: how long to stay away, and how much is left.

Understood: `Retry-After` (RFC 9110 §10.2.3); `RateLimit` with `RateLimit-Policy` as
draft-ietf-httpapi-ratelimit-headers has them from -08 on, one dictionary in -07, `RateLimit-Remaining` and `-Reset`
before; `X-RateLimit-*` in every spelling and unit that vendors are known to use (`gateway.core.http.timestamps`).
"""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from enum import StrEnum
from typing import NamedTuple

from gateway.core.http.fields import lower
from gateway.core.http.framing import Fields
from gateway.core.http.own_fields import OwnFields, quotas
from gateway.core.http.timestamps import http_date_us, wait_us
from gateway.core.units import SECOND_US

MAX_VALUE_BYTES = 1024
TOO_MANY = 429


class Honor(StrEnum):
    """A family of fields that may be listened to."""

    RETRY_AFTER = "Retry-After"
    RATELIMIT = "RateLimit"
    X_RATELIMIT = "X-RateLimit-Reset"


class Asked(NamedTuple):
    """What an answer says.

    wait_us    stay away this long; 0 = it does not ask for that
    remaining  units left, the least it mentions; None = it does not say
    reset_us   until more are there; 0 = it does not say
    """

    wait_us: int = 0
    remaining: int | None = None
    reset_us: int = 0


NOTHING = Asked()

_SLOTS = '"concurrent-requests"'
"""`qu` of a policy about calls at the same time (draft §3)."""
_X_LEFT, _X_UNTIL = b"x-ratelimit-remaining", b"x-ratelimit-reset"
_PLAIN = re.compile(r"[0-9]{1,7}").fullmatch
_X_RESET = frozenset({_X_UNTIL, b"x-rate-limit-reset", b"x-ratelimit-reset-after"})
_X_REMAINING = frozenset({_X_LEFT, b"x-rate-limit-remaining"})
_FAMILY: dict[bytes, Honor] = {
    b"retry-after": Honor.RETRY_AFTER,
    **dict.fromkeys((b"ratelimit", b"ratelimit-policy", b"ratelimit-remaining", b"ratelimit-reset"), Honor.RATELIMIT),
    **dict.fromkeys(_X_RESET | _X_REMAINING, Honor.X_RATELIMIT),
}

THEIR_CLOCK = frozenset({b"date", b"age"})
"""Fields, in lower case, that say what time it is where the answer is from."""

COUNTING = frozenset({name for name, family in _FAMILY.items() if family is not Honor.RETRY_AFTER})
"""Fields, in lower case, that say what is left or until when."""

_Said = dict[bytes, list[str]]


def read(status: int, fields: Fields, now_us: int, honor: Collection[str], own: Sequence[OwnFields] = ()) -> Asked:
    """What the answer asks for, as far as the families in `honor`, and fields of the upstream's `own`, say it.

    Never raises.

    now_us  epoch microseconds, for fields that name a point in time, where the answer does not say what time it is by
            the clock that it goes by: see `THEIR_CLOCK`

    `Retry-After` wins where it is given (draft §7), but only on errors: elsewhere it is about polling and redirects.
    A reset is a wait when nothing is left, or when a 429 does not say what is left.
    """
    said: _Said = {}
    for name, value in fields:
        known = lower[name]
        if known in _FAMILY and _FAMILY[known] in honor and len(value) <= MAX_VALUE_BYTES:
            said.setdefault(known, []).append(value.decode("latin-1"))
    if own:
        now_us = their_now(fields, now_us)
        return _read(said, status, now_us, quotas(own, fields, now_us))
    return (_plainly(said, status) or _read(said, status, their_now(fields, now_us))) if said else NOTHING


def their_now(fields: Fields, now_us: int) -> int:
    """A point in time is meant by the clock of who names it, and ours may be wrong: it is as late there as `Date` says,
    and by `Age` later where a cache has kept the answer. Without a `Date`, as late as here."""
    said = {lower[name]: value.decode("latin-1") for name, value in fields if lower[name] in THEIR_CLOCK}
    date_us = http_date_us(said.get(b"date", ""), now_us)
    if date_us is None:
        return now_us
    age = _PLAIN(said.get(b"age", ""))
    return date_us + (int(age[0]) * SECOND_US if age else 0)


def _plainly(said: _Said, status: int) -> Asked | None:
    """What most upstreams say, a line each: whole numbers of units and of seconds. None = it takes more to read it."""
    left, reset = said.get(_X_LEFT), said.get(_X_UNTIL)
    known = [values for values in (left, reset) if values is not None]
    if len(known) != len(said) or not all(len(values) == 1 and _PLAIN(values[0]) for values in known):
        return None
    remaining, reset_us = int(left[0]) if left else None, int(reset[0]) * SECOND_US if reset else 0
    return Asked(_wait([(remaining, reset_us)], status), remaining, reset_us)


_Quota = tuple[int | None, int]
"""(units left or None, microseconds until more or 0)."""


def _read(said: _Said, status: int, now_us: int, more: Iterable[_Quota] = ()) -> Asked:
    known = [*_quotas(said, now_us, status), *more]
    counts = [left for left, _ in known if left is not None]
    remaining = min(counts, default=None)
    reset_us = max((reset for left, reset in known if left == remaining), default=0)
    retry_after_us = _longest(said.get(b"retry-after", ()), now_us) if status >= 400 else 0
    return Asked(retry_after_us or _wait(known, status), remaining, reset_us)


def _wait(quotas: Collection[_Quota], status: int) -> int:
    """The longest wait among quotas that are used up."""
    used_up = [reset for left, reset in quotas if left == 0 or (left is None and status == TOO_MANY)]
    return max(used_up, default=0)


def _quotas(said: _Said, now_us: int, status: int) -> Iterator[_Quota]:
    """One pair for each quota that the answer mentions. How many calls may run at once is none unless it refuses: who
    reads the answer to a call that had the last slot has given it back."""
    policies = {name: more for value in said.get(b"ratelimit-policy", ()) for name, more in _items(value)}
    slots = {name for name, more in policies.items() if more.get("qu") == _SLOTS} if status != TOO_MANY else ()
    windows = {name: wait_us(more.get("w", ""), now_us) or 0 for name, more in policies.items()}
    for value in said.get(b"ratelimit", ()):
        yield from _current(value, windows, slots, now_us)
    for remaining, reset in (((b"ratelimit-remaining",), (b"ratelimit-reset",)), (_X_REMAINING, _X_RESET)):
        if any(name in said for name in (*remaining, *reset)):
            left = min((left for name in remaining for left in _counts(said.get(name, ()))), default=None)
            yield left, max((_longest(said.get(name, ()), now_us) for name in reset), default=0)


def _current(value: str, windows: dict[str, int], slots: Collection[str], now_us: int) -> Iterator[_Quota]:
    """`"name";r=…;t=…` of every quota, or the one dictionary of draft -07: `limit=…, remaining=…, reset=…`.

    windows  by name: more is there after at most that long
    slots    names of what does not count
    """
    dictionary: dict[str, str] = {}
    for name, parameters in _items(value):
        key, equals, number = name.partition("=")
        if equals and not name.startswith('"'):
            dictionary[key.strip().lower()] = number
        elif "r" in parameters and name not in slots:
            reset = wait_us(parameters.get("t", ""), now_us)
            yield _count(parameters["r"]), windows.get(name, 0) if reset is None else reset
    if dictionary:
        yield _count(dictionary.get("remaining", "")), wait_us(dictionary.get("reset", ""), now_us) or 0


def _items(value: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Members of a list (RFC 9651 §3.1) with their parameters, as they are written. Quotes are respected."""
    for member in members(value):
        name, *parameters = _split(member, ";")
        pairs = (parameter.partition("=") for parameter in parameters)
        yield name.strip(), {key.strip().lower(): text.strip() for key, _, text in pairs}


def members(value: str) -> Iterator[str]:
    """What stands between the commas of a list."""
    return (member.strip() for member in _split(value, ","))


def _split(text: str, separator: str) -> Sequence[str]:
    """At separators outside quoted strings."""
    return text.split(separator) if '"' not in text or separator not in text else [*_split_outside(text, separator)]


def _split_outside(text: str, separator: str) -> Iterator[str]:
    start, quoted, escaped = 0, False, False
    for position, char in enumerate(text):
        if escaped:
            escaped = False
        elif quoted and char == "\\":
            escaped = True
        elif char == '"':
            quoted = not quoted
        elif char == separator and not quoted:
            yield text[start:position]
            start = position + 1
    yield text[start:]


def _longest(values: Collection[str], now_us: int) -> int:
    """The longest wait that any of the values means."""
    return max((wait_us(value, now_us) or 0 for value in values), default=0)


def _counts(values: Collection[str]) -> Iterator[int]:
    """Amounts in fields that hold one, or a list with parameters: `76;w=21600`."""
    for value in values:
        for name, _ in _items(value):
            count = _count(name)
            if count is not None:
                yield count


def _count(text: str) -> int | None:
    """Whole units: `12` and `12.0` are 12."""
    whole, _, fraction = text.strip().partition(".")
    if whole.isascii() and whole.isdigit() and len(whole) <= 15 and (not fraction or fraction.isdigit()):
        return int(whole)
    return None
