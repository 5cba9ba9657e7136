"""Every code the gateway can answer with is documented with its statuses, and nothing else is."""

import re
from pathlib import Path

from gateway.core import problems
from gateway.core.problems import BAD_REQUESTS, UPSTREAM_PROBLEMS, Kind

DOCUMENT = Path(__file__).parents[2] / "docs" / "headers.md"


def test_codes_and_statuses() -> None:
    rows = re.findall(r"^\| `([A-Z_]+)` \| ([\d, ]+) \|", DOCUMENT.read_text(), re.MULTILINE)
    documented = {code: {int(status) for status in statuses.split(",")} for code, statuses in rows}
    kinds = [value for value in vars(problems).values() if isinstance(value, Kind)]
    real: dict[str, set[int]] = {}
    for kind in [*kinds, *BAD_REQUESTS.values(), *UPSTREAM_PROBLEMS.values()]:
        real.setdefault(kind.code, set()).add(kind.status)
    assert documented == real
