"""A moment in the past, as operators write it."""

from collections.abc import Mapping
from datetime import datetime
from time import time
from typing import Any

from gateway.admin.problems import AdminProblem
from gateway.policy.models.scalars import Unfit, parse_duration

INSTANT: Mapping[str, Any] = {"type": "string", "examples": ["2h", "2026-11-21T14:00:00Z"]}


def read_instant_ms(member: str, value: object) -> int:
    """Milliseconds since 1970: of a date and time with its zone (RFC 3339), or of how long ago it was. Raises
    AdminProblem."""
    try:
        when = datetime.fromisoformat(str(value))
    except ValueError:
        return int(time() * 1000) - _ago_ms(member, value)
    if when.tzinfo is None:
        raise _wrong(member)
    return max(0, int(when.timestamp() * 1000))


def _ago_ms(member: str, value: object) -> int:
    try:
        return parse_duration(value) // 1000
    except Unfit:
        raise _wrong(member) from None


def _wrong(member: str) -> AdminProblem:
    return AdminProblem(
        400, "BAD_ORDER", f"`{member}` must be a time like 2026-11-21T14:00:00Z, or 2h for two hours ago."
    )
