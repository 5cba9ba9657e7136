"""How long an operator's order holds."""

from collections.abc import Mapping
from typing import Any

from gateway.admin.problems import AdminProblem
from gateway.policy.models.scalars import Unfit, parse_duration

MAX_TTL_US = 30 * 24 * 3600 * 1_000_000
TTL: Mapping[str, Any] = {
    "type": "string",
    "pattern": "^[1-9][0-9]{0,5}(ms|s|m|h|d)$",
    "examples": ["30s", "10m", "2h"],
}


def read_ttl(value: object) -> int:
    """Microseconds, of `10m` and the like; at most a month. Raises AdminProblem."""
    try:
        return min(parse_duration(value), MAX_TTL_US)
    except Unfit as unfit:
        raise AdminProblem(400, "BAD_ORDER", f"`ttl`: {unfit.message()}") from None
