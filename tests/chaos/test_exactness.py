"""Exact, for a whole fleet, in every window, judged by what reached the upstream and when."""

import asyncio
import random
from collections.abc import Iterator

import pytest

from tests.chaos.conftest import Figures, Fleet
from tests.chaos.exact import evenly, judge, policies, spans
from tests.fakes.exactness import (
    most_surely_in_any,
    needlessly_refused,
    needlessly_refused_by_bucket,
    surely_over_bucket,
)
from tests.fakes.ledger import Ledger
from tests.fakes.load import Call, Load, by_status
from tests.fakes.redis_server import RedisServer
from tests.fakes.waiting import pause

WINDOW_S, LIMIT, TENANTS, GATEWAYS = 5.0, 40, 8, 4


async def test_eight_tenants_at_three_times_their_limit(fleet: Fleet, ledger: Ledger, figures: Figures) -> None:
    text = policies(ledger.url, {"w": f"algorithm: rolling_window, limit: {LIMIT}, window: {WINDOW_S:g}s"})
    gateways = await asyncio.gather(*(fleet(text, "--workers", "2") for _ in range(GATEWAYS)))
    tenants = [f"t{number}" for number in range(TENANTS)]
    async with Load([one.port for one in gateways]) as load:
        await load.run(evenly(tenants, 3 * LIMIT / WINDOW_S, 2 * WINDOW_S, GATEWAYS))
    found = judge(load.calls, ledger, LIMIT, WINDOW_S)
    figures(f"{GATEWAYS} gateways x 2 workers, {TENANTS} tenants at 3 x {LIMIT}", calls=len(load.calls), **found)
    assert found["most_in_any_window"] <= LIMIT
    assert found["needless_refusals"] == 0
    assert min(ledger.count(f"/w/{tenant}/") for tenant in tenants) >= 2 * LIMIT - 1  # the last may be due with the end
    workers = {(line["instance"], line["worker"]) for one in gateways for line in one.calls()}
    assert len(workers) > GATEWAYS


SEEDS = range(1, 6)
TOPOLOGIES = {"1 process": (1, 1), "2 workers": (1, 2), "2 gateways": (2, 1)}


@pytest.mark.parametrize("topology", TOPOLOGIES)
async def test_random_timings(topology: str, fleet: Fleet, ledger: Ledger, figures: Figures) -> None:
    """Bursts and pauses by five seeds, each against a window and a bucket of its own."""
    count, workers = TOPOLOGIES[topology]
    draws = {seed: random.Random(seed) for seed in SEEDS}
    numbers = {seed: (draw.randint(3, 30), draw.choice((0.5, 1.0, 1.7))) for seed, draw in draws.items()}
    limits = {
        **{
            f"w{s}": f"algorithm: rolling_window, limit: {n}, window: {round(t * 1000)}ms"
            for s, (n, t) in numbers.items()
        },
        **{
            f"b{s}": f"algorithm: token_bucket, burst: {n}, rate: {n}, per: {round(t * 1000)}ms"
            for s, (n, t) in numbers.items()
        },
    }
    text = policies(ledger.url, limits)
    gateways = await asyncio.gather(*(fleet(text, "--workers", str(workers)) for _ in range(count)))
    plan = sorted(
        (moment for name in limits for moment in _moments(name, *numbers[int(name[1:])], draws[int(name[1:])], count)),
        key=lambda moment: moment[0],
    )
    async with Load([one.port for one in gateways], sockets=8) as load:
        await load.run(plan)
    for name in limits:
        limit, window_s = numbers[int(name[1:])]
        admitted, refused = spans([call for call in load.calls if call.tenant == name], ledger)
        assert admitted
        assert refused
        if name[0] == "w":
            assert most_surely_in_any(admitted, window_s) <= limit
            assert needlessly_refused(admitted, refused, limit, window_s) == []
        else:
            assert surely_over_bucket(admitted, limit, limit / window_s) == 0
            assert needlessly_refused_by_bucket(admitted, refused, limit, limit / window_s) == []
    figures(f"random timings, {topology}, {len(limits)} runs", calls=len(load.calls), answers=by_status(load.calls))


def _moments(
    name: str, limit: int, window_s: float, draw: random.Random, gateways: int
) -> Iterator[tuple[float, Call]]:
    """Four windows in which three times the limit come: in bursts, or evenly, with pauses between."""
    number, at_s = 0, draw.uniform(0, window_s)
    while number < 12 * limit and at_s < 5 * window_s:
        burst = draw.randint(1, max(1, limit // 2))
        for _ in range(burst):
            yield at_s, Call(f"/{name}/{number}", name, gateway=draw.randrange(gateways))
            number += 1
            at_s += draw.choice((0.0, 0.0, window_s / (4 * limit)))
        at_s += draw.uniform(0, 2 * burst * window_s / (3 * limit))


async def test_a_thousand_at_once_on_a_limit_of_a_hundred(fleet: Fleet, ledger: Ledger, figures: Figures) -> None:
    text = policies(ledger.url, {"w": "algorithm: rolling_window, limit: 100, window: 10m"})
    gateways = [await fleet(text), await fleet(text)]
    for number in range(20):
        tenant = f"round-{number}"
        async with Load([one.port for one in gateways], sockets=100) as load:
            for at in range(1000):
                load.send(Call(f"/w/{tenant}/{at}", tenant, gateway=at % 2))
            await load.idle()
        assert by_status(load.calls) == {200: 100, 429: 900}
        assert ledger.count(f"/w/{tenant}/") == 100
    figures("20 rounds of 1,000 at once, limit 100", admitted_each="100")


async def test_bursts_of_two_thousand_on_sockets_of_their_own(
    fleet: Fleet, ledger: Ledger, own_redis_server: RedisServer, figures: Figures
) -> None:
    """All are on their way at the same moment. The store answers the last of them in time: the fallback admits nobody."""
    text = policies(ledger.url, {"w": "algorithm: rolling_window, limit: 500, window: 10m"})
    gateways = await asyncio.gather(*(fleet(text, "--workers", "2") for _ in range(2)))
    own_redis_server.command("CONFIG", "RESETSTAT")
    async with Load([one.port for one in gateways], sockets=1000, opened=1000) as load:
        for number in range(10):
            tenant, before = f"burst-{number}", len(load.calls)
            for at in range(2000):
                load.send(Call(f"/w/{tenant}/{at}", tenant, gateway=at % 2))
            await load.idle()
            assert by_status(load.calls[before:]) == {200: 500, 429: 1500}
            assert ledger.count(f"/w/{tenant}/") == 500
    trips = int(own_redis_server.command("INFO", "commandstats")["cmdstat_evalsha"]["calls"])
    figures("10 bursts of 2,000 at once, limit 500", admitted_each="500", trips=trips)
    assert {line["store"] for one in gateways for line in one.calls()} == {"redis"}


async def test_a_hot_key(fleet: Fleet, ledger: Ledger, own_redis_server: RedisServer, figures: Figures) -> None:
    """A thousand calls a second of one caller whose limit is 10: nearly all refused, which is written nowhere."""
    text = policies(ledger.url, {"w": "algorithm: rolling_window, limit: 10, window: 1s"})
    gateways = [await fleet(text), await fleet(text)]
    async with Load([one.port for one in gateways], sockets=64) as load:
        running = asyncio.create_task(load.run(evenly(["hot"], 1000, 4, 2)))
        sizes: list[int] = []
        while not running.done():
            sizes.append(own_redis_server.command("MEMORY", "USAGE", "gw:w:{=hot}") or 0)
            await pause(0.05, "samples, now and then")
    found = judge(load.calls, ledger, 10, 1.0)
    asked = int(own_redis_server.command("INFO", "commandstats")["cmdstat_evalsha"]["calls"])
    figures("hot key, 1,000 a second on a limit of 10", **found, most_bytes=max(sizes), trips=asked)
    assert found["most_in_any_window"] <= 10
    assert found["needless_refusals"] == 0
    assert 0 < max(sizes) <= 300 + 12 * 10
    assert asked < len(load.calls) / 2  # refusals are repeated without asking
