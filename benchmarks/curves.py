"""How the gateway's cost grows: with tenants, routes, limits on the call, and bodies each way."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

from benchmarks.load import Load, chosen
from benchmarks.peers import gateway
from benchmarks.peers.shape import LIMITS, Peer
from benchmarks.policy import everything_on, with_limits, with_routes
from benchmarks.programs import Failed
from benchmarks.stage import SIZES, Sample, measure, standing

Point = tuple[int, Load, Peer]
WARM_UP_S = {10_000: 15.0, 1000: 3.0}
"""Until each tenant or route has been called nearly ten times: heads are remembered from the third time on."""
PAUSE_MS = 10
"""Between a caller's calls, so that all points are measured at the same load, some 6,000 calls a second. At full load
the core beside the gateway would say how many come at once: random heads of many tenants cost it more, the gateway
would wait for it, and calls that come one by one share less of its work."""


def _gateway(policy: gateway.Policy = everything_on) -> Peer:
    return replace(gateway.PEER, command=gateway.with_policy(policy))


def _steady(**what: Any) -> Load:
    return replace(chosen(**what), pause_ms=PAUSE_MS)


def _tenants() -> list[Point]:
    return [(count, _steady(tenants=count), _gateway()) for count in (1, 100, 10_000)]


def _routes() -> list[Point]:
    return [(count, _steady(routes=count, path="r%d/items"), _gateway(with_routes(count))) for count in (1, 100, 1000)]


def _limits() -> list[Point]:
    return [(count, _steady(), _gateway(with_limits(count))) for count in (1, 2, 5, 20)]


def _down() -> list[Point]:
    return [(size, chosen(path=f"bytes/{size}"), _gateway()) for size in SIZES]


def _up() -> list[Point]:
    return [(size, chosen(up_bytes=size, path="read/items"), _gateway()) for size in SIZES]


CURVES: dict[str, Callable[[], list[Point]]] = {
    "tenants": _tenants,
    "routes": _routes,
    "limits": _limits,
    "down_bytes": _down,
    "up_bytes": _up,
}


def rounds(names: Sequence[str], upstream_port: int, count: int, seconds: float) -> list[dict[str, Any]]:
    """One row for each measured run; those that failed are told and left out."""
    rows = []
    for number in range(count):
        for name in names:
            for point in CURVES[name]():
                try:
                    sample = _sample(name, point, upstream_port, seconds)
                except Failed as error:
                    print(f"{number} {name} {point[0]:,}: {error}", flush=True)
                    continue
                rows.append({"curve": name, "x": point[0], "round": number, **asdict(sample)})
                print(f"{number} {name} {point[0]:,}: {sample.cpu_us:.1f} µs/call", flush=True)
    return rows


def _sample(name: str, point: Point, upstream_port: int, seconds: float) -> Sample:
    x, load, peer = point
    path = "/r0/items" if name == "routes" else "/v1/items"
    with standing(peer, LIMITS["admitted"], upstream_port, path=path) as stand:
        return measure(stand, load, seconds, warm_up_s=WARM_UP_S.get(x, 1.0))
