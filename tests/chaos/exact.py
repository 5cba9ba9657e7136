"""Rolling windows under even load, and what the upstream's ledger says about them."""

import random
from collections.abc import Iterator, Sequence
from typing import Any

from tests.fakes.exactness import Span, most_in_any, most_surely_in_any, needlessly_refused
from tests.fakes.ledger import Ledger
from tests.fakes.load import Call, by_status

POLICIES = """
version: 1
keys:
  tenant: {from: header, name: X-Tenant-Id, on_missing: reject}
limits:
%(limits)s
upstreams:
  up: {url: "%(url)s", timeouts: {connect: 60s, first_byte: 60s}}
routes:
%(routes)s
"""


def policies(url: str, limits: dict[str, str]) -> str:
    """A route `/name/` for each limit."""
    return POLICIES % {
        "url": url,
        "limits": "\n".join(f"  {name}: {{{numbers}, key: [tenant]}}" for name, numbers in limits.items()),
        "routes": "\n".join(
            f"  - {{name: {name}, match: {{path_prefix: /{name}/}}, upstream: up, limits: [{name}]}}" for name in limits
        ),
    }


def spans(calls: Sequence[Call], ledger: Ledger) -> tuple[list[Span], list[Span]]:
    """When the admitted and the refused of these calls were decided. Each call had one answer and one effect."""
    admitted, refused = [], []
    for call in calls:
        came = ledger.arrivals.get(call.target, [])
        assert (call.status, len(came)) in ((200, 1), (429, 0)), call
        if came:
            admitted.append(Span(call.sent_s, came[0]))
        else:
            refused.append(Span(call.sent_s, call.ended_s))
    return admitted, refused


def evenly(tenants: Sequence[str], rate_each: float, seconds: float, gateways: int) -> Iterator[tuple[float, Call]]:
    """Calls of all tenants in turn on the route `/w/`, each to some gateway."""
    rate, draw = rate_each * len(tenants), random.Random(1)
    for number in range(int(rate * seconds)):
        tenant = tenants[number % len(tenants)]
        yield number / rate, Call(f"/w/{tenant}/{number}", tenant, gateway=draw.randrange(gateways))


def judge(calls: Sequence[Call], ledger: Ledger, limit: int, window_s: float) -> dict[str, Any]:
    """Of the worst tenant: the most admitted in any window (surely; and as they arrived, each on a way of its own
    length), and of all: refusals that surely were not needed."""
    surely, arrived, needless = 0, 0, 0
    for tenant in {call.tenant for call in calls}:
        admitted, refused = spans([call for call in calls if call.tenant == tenant], ledger)
        surely = max(surely, most_surely_in_any(admitted, window_s))
        arrived = max(arrived, most_in_any(ledger.times(f"/w/{tenant}/"), window_s))
        needless += len(needlessly_refused(admitted, refused, limit, window_s))
    return {
        "answers": by_status(calls),
        "most_in_any_window": surely,
        "by_time_of_arrival": arrived,
        "needless_refusals": needless,
    }
