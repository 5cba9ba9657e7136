"""How the gateway's cost grows: with tenants, routes, limits on the call, and bodies each way."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from typing import Any

from benchmarks.calm import patience
from benchmarks.load import Load, chosen
from benchmarks.peers import gateway
from benchmarks.peers.shape import LIMITS, Peer
from benchmarks.policy import everything_on, with_limits, with_routes
from benchmarks.programs import Failed
from benchmarks.stage import SIZES, Sample, Stand, one_run, standing, warm_up
from benchmarks.tables import groups, median

Point = tuple[int, Load, Peer]
WARM_UP_S = {10_000: 15.0, 1000: 3.0}
"""Until each tenant or route has been called nearly ten times: heads are remembered from the third time on."""
SLICE_S = 1.0
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
    """One row for each slice at each point; curves that failed in a round are told and left out of it.

    All points of a curve stand at the same time, and slices of a second go to them in turn, each time in another order:
    on a shared host the same work takes twice as long for some seconds, and what is compared must lie closer together
    than that. Each round starts everything anew.
    """
    slices = max(1, round(2 * seconds))
    rows: list[dict[str, Any]] = []
    for number in range(count):
        for name in names:
            try:
                found = _sliced(name, upstream_port, range(number * slices, (number + 1) * slices))
            except Failed as error:
                print(f"{number} {name}: {error}", flush=True)
                continue
            rows += found
            for (x,), some in groups(found, "x").items():
                print(f"{number} {name} {x:,}: {median(some, 'cpu_us'):.1f} µs/call", flush=True)
    return rows


def _sliced(name: str, upstream_port: int, numbers: range) -> list[dict[str, Any]]:
    path = "/r0/items" if name == "routes" else "/v1/items"
    points = CURVES[name]()
    rows = []
    with ExitStack() as stack:
        stands = [
            stack.enter_context(standing(peer, LIMITS["admitted"], upstream_port, path=path)) for *_, peer in points
        ]
        turn = [(x, load, stand) for (x, load, _), stand in zip(points, stands, strict=True)]
        for x, load, stand in turn:
            warm_up(stand, load, WARM_UP_S.get(x, 1.0))
        for number in numbers:
            order = turn[number % len(turn) :] + turn[: number % len(turn)]
            slowness, samples = patience().calmest(lambda some=order: _slice(some))
            rows += [
                {"curve": name, "x": x, "round": number, **asdict(one), "slowness": slowness} for x, one in samples
            ]
    return sorted(rows, key=lambda row: int(row["x"]))


def _slice(order: Sequence[tuple[int, Load, Stand]]) -> list[tuple[int, Sample]]:
    return [(x, one_run(stand, load, SLICE_S)) for x, load, stand in order]
