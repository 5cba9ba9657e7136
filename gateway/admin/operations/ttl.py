"""How long an operator's order holds."""

from collections.abc import Mapping
from typing import Any

from gateway.admin.problems import AdminProblem
from gateway.core.units import DAY_US
from gateway.policy.models.scalars import Unfit, parse_duration

MAX_TTL_US = 30 * DAY_US
TTL: Mapping[str, Any] = {
    "type": "string",
    "pattern": "^[1-9][0-9]{0,5}(ms|s|m|h|d)$",
    "examples": ["30s", "10m", "2h"],
}


def read_ttl(value: object, most_us: int = MAX_TTL_US) -> int:
    """Microseconds, of `10m` and the like. Raises AdminProblem, also when it is longer than `most_us`."""
    try:
        ttl_us = parse_duration(value)
    except Unfit as unfit:
        if unfit.type != "out-of-range":  # the bounds of durations in policies are other ones
            raise AdminProblem(400, "BAD_ORDER", f"`ttl`: {_sentence(unfit)}.") from None
        ttl_us = 0
    if not 0 < ttl_us <= most_us:
        raise AdminProblem(400, "BAD_ORDER", f"`ttl` must be more than 0 and at most {most_us // DAY_US}d.")
    return ttl_us


def _sentence(unfit: Unfit) -> str:
    hint = (unfit.context or {}).get("hint")
    return f"{unfit.message()}; {hint}" if hint else unfit.message()
