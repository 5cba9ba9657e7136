"""What upstreams say is left in fields that nobody else has: `X-MinLimit-Remaining: 59`, `api-usage=10018/100000`."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gateway.core.http.fields import lower
from gateway.core.http.framing import Fields
from gateway.core.http.timestamps import wait_us

MAX_VALUE_BYTES = 256
_AMOUNT = re.compile(r"[ \t]*([0-9]{1,15})(?:\.[0-9]{0,9})?[ \t]*", re.ASCII).fullmatch
_USED_OF = re.compile(r"(?<![0-9.])([0-9]{1,15})/([0-9]{1,15})(?![0-9.])", re.ASCII).search


@dataclass(frozen=True, slots=True)
class OwnFields:
    """How an upstream says what is left of one quota. Names of fields are in lower case; "" = there is none.

    remaining  says what is left; or
    used       says what is used of how much: `39/40`, the first in it
    reset      says until when, in any form that `Retry-After` and resets have
    window_us  more is there after that time at the latest; 0 where `reset` says it
    """

    remaining: str = ""
    used: str = ""
    reset: str = ""
    window_us: int = 0


def quotas(named: Sequence[OwnFields], fields: Fields, now_us: int) -> Iterator[tuple[int, int]]:
    """(units left, microseconds until more are there or 0) of each quota that the answer mentions. Never raises.

    Of a field that comes more than once the value counts that lets fewer calls through.
    """
    for one in named:
        said = (_left(one, value) for value in _values(one.used or one.remaining, fields))
        counts = [count for count in said if count is not None]
        if counts:
            waits = [wait_us(value, now_us) or 0 for value in _values(one.reset, fields)]
            yield min(counts), one.window_us or max(waits, default=0)


def _values(field: str, fields: Fields) -> Iterator[str]:
    name = field.encode()
    return (value.decode("latin-1") for key, value in fields if lower[key] == name and len(value) <= MAX_VALUE_BYTES)


def _left(one: OwnFields, value: str) -> int | None:
    if one.used:
        found = _USED_OF(value)
        return max(0, int(found[2]) - int(found[1])) if found else None
    amount = _AMOUNT(value)
    return int(amount[1]) if amount else None
