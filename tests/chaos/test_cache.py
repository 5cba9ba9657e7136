"""Cached traffic while the store dies, hangs or comes back, while policies change, and when who fetches for all is gone."""

import asyncio
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from tests.app.caching import answer
from tests.chaos.conftest import Figures, Fleet
from tests.fakes.gateways import Process
from tests.fakes.ledger import Ledger
from tests.fakes.load import Call, Load, by_status, percentile_ms
from tests.fakes.redis_server import RedisServer
from tests.fakes.upstream import Received, Socket, Upstream
from tests.fakes.waiting import eventually, pause

RATE, TARGETS = 300, 20
STORE_TIMEOUT_S, ANSWERS_TIMEOUT_S = 0.1, 0.25
POLICIES = """
version: 1
keys:
  tenant: {from: header, name: X-Tenant-Id, on_missing: skip}
limits:
  calls: {algorithm: rolling_window, limit: 1000000, window: 10m, key: [tenant], on_store_error: local}
upstreams:
  up: {url: "%(url)s"}
routes:
  - name: all
    match: {path_prefix: /}
    upstream: up
    limits: [calls]
    modules: {cache: {match: {path: "/things/{id}"}, vary_by: [], ttl: %(ttl)s, stale_if_error: 1h, wait: %(wait)s}}
"""


def policies(url: str, ttl: str = "1s", wait: str = "5s") -> str:
    return POLICIES % {"url": url, "ttl": ttl, "wait": wait}


@asynccontextmanager
async def traffic(fleet: list[Process]) -> Any:
    """Constant calls for things that everybody wants; the body is what happens meanwhile."""

    def endless() -> Iterator[tuple[float, Call]]:
        number = 0
        while True:
            yield number / RATE, Call(f"/things/{number % TARGETS}", gateway=number // TARGETS % len(fleet))
            number += 1

    async with Load([one.port for one in fleet], sockets=64) as load:
        running = asyncio.create_task(load.run(endless()))
        await pause(2, "the load before the fault")
        yield load
        await pause(3, "the load after it")
        running.cancel()
        await asyncio.wait([running])
        await load.idle()


def told(what: str, load: Load, fleet: list[Process], figures: Figures) -> Counter[str]:
    """One line of the report, and how calls were answered."""
    how = Counter(line["cache"] for one in fleet for line in one.calls() if "cache" in line)
    waited = sum(line["duration_ms"] > 900 * ANSWERS_TIMEOUT_S for one in fleet for line in one.calls())
    figures(
        what,
        calls=len(load.calls),
        upstream=how["miss"] + how["validated"],
        statuses=by_status(load.calls),
        how=dict(how),
        p99_ms=percentile_ms(load.calls, 99),
        max_ms=percentile_ms(load.calls, 100),
        waited=waited,
    )
    assert set(by_status(load.calls)) == {200}
    workers = 2 * len(fleet)
    assert waited <= 2 * RATE * (ANSWERS_TIMEOUT_S + STORE_TIMEOUT_S) + 4 * workers, f"{waited} calls waited"
    return how


@pytest.mark.parametrize("fault", ["kill", "freeze"])
async def test_a_store_that_dies_or_hangs_costs_no_answer(
    fault: str, fleet: Fleet, ledger: Ledger, own_redis_server: RedisServer, figures: Figures
) -> None:
    patience = f"{STORE_TIMEOUT_S * 1000:g}ms"
    started = [await fleet(policies(ledger.url), "--workers", "2", patience=patience) for _ in range(2)]
    async with traffic(started) as load:
        getattr(own_redis_server, fault)()
        await pause(5, "the fault lasts")
        if fault == "kill":
            own_redis_server.spawn()
            await asyncio.to_thread(own_redis_server.wait_until_it_answers)
        else:
            own_redis_server.thaw()
    for one in started:
        await one.stop()
    how = told(f"cached traffic, {fault} of the store, 5 s", load, started, figures)
    assert how["hit"] > len(load.calls) / 2


async def test_reloads_cost_no_answer(fleet: Fleet, ledger: Ledger, figures: Figures) -> None:
    """Half of them change what the route keeps."""
    one = await fleet(policies(ledger.url, "1h"), "--workers", "2")
    file = one.log.parent / "policies" / "test.yaml"
    async with traffic([one]) as load, aiohttp.ClientSession() as session:
        for number in range(20):
            ttl, limit = 1 + (number + 1) // 2, 999_999 - number
            file.write_text(policies(ledger.url, f"{ttl}h").replace("1000000", str(limit)))
            async with session.post(f"http://127.0.0.1:{one.admin_port}/-/reload") as reloaded:
                outcome = await reloaded.json()
                # unchanged: whoever watches the file was first
                assert outcome["result"] in ("loaded", "unchanged"), outcome
            await pause(0.2, "calls between two reloads")
    await one.stop()
    how = told("cached traffic, 20 reloads", load, [one], figures)
    assert how["hit"] > len(load.calls) / 2


@pytest.mark.parametrize("fault", [signal.SIGKILL, signal.SIGSTOP])
async def test_another_asks_when_who_asks_for_all_is_gone(
    fault: signal.Signals, fleet: Fleet, figures: Figures
) -> None:
    """And when that one goes on, its answer, which is older, does not take the place of the newer one."""
    async with Upstream() as upstream:
        asked, go_on, bodies = asyncio.Event(), asyncio.Event(), iter((b"old", b"new", b"newest"))

        async def slow(_got: Received, _socket: Socket) -> bytes:
            body = next(bodies)
            asked.set()
            if body == b"old":
                await go_on.wait()
            return answer(body)

        upstream.script = slow
        text = policies(upstream.url, "1h", "1s")
        first, second = [await fleet(text, "--workers", "1") for _ in range(2)]
        async with Load([first.port, second.port]) as load:
            load.send(Call("/things/1", gateway=0))
            await asked.wait()
            first.process.send_signal(fault)
            waiting = [Call("/things/1", gateway=1) for _ in range(10)]
            for call in waiting:
                load.send(call)
            await eventually(lambda: all(call.ended_s for call in waiting), gap_s=0.01)
            figures(f"who asks for all gets {fault.name}", waited_ms=percentile_ms(waiting, 100))
            assert set(by_status(waiting)) == {200}
            assert len(upstream.received) == 2, "one of those who waited asked"
            assert percentile_ms(waiting, 100) < 5_000
            go_on.set()
            if fault is signal.SIGSTOP:
                first.process.send_signal(signal.SIGCONT)
                await load.idle()
                assert load.calls[0].status == 200
                alike = {"headers": {"Host": "api.example"}, "skip_auto_headers": ["Accept", "Accept-Encoding"]}
                async with aiohttp.ClientSession(**alike) as session:  # type: ignore[arg-type]
                    for gateway in (second, first):
                        await pause(1.1, "for so long each uses what it has")
                        async with session.get(f"{gateway.url}/things/1") as got:
                            assert await got.text() == "new"
