"""Workers and gateways that are killed: what they held comes back, and nobody else notices."""

import asyncio
import os
import signal
from pathlib import Path

import aiohttp

from tests.chaos.conftest import Figures, Fleet
from tests.chaos.exact import evenly, policies
from tests.fakes.gateways import Process
from tests.fakes.ledger import Ledger
from tests.fakes.load import NO_ANSWER, Load, by_status
from tests.fakes.redis_server import RedisServer
from tests.fakes.upstream import OK, Received, Socket, Upstream, always
from tests.fakes.waiting import eventually, pause

LIMIT, SOCKETS = 200, 16
RULE = f"algorithm: rolling_window, limit: {LIMIT}, window: 10m"


async def test_a_worker_is_killed(fleet: Fleet, ledger: Ledger, figures: Figures) -> None:
    text = policies(ledger.url, {"w": RULE})
    hurt, other = await asyncio.gather(fleet(text, "--workers", "4"), fleet(text, "--workers", "2"))
    loop = asyncio.get_running_loop()
    async with Load([hurt.port, other.port], sockets=64, opened=SOCKETS) as load:
        running = asyncio.create_task(load.run(evenly(["t0", "t1"], 150, 6, 2)))
        await pause(1, "the load has begun")
        before = hurt.worker_pids()
        os.kill(before[2], signal.SIGKILL)
        killed_s = loop.time()
        await eventually(lambda: len(hurt.events("worker.started")) > 4)
        took_s = loop.time() - killed_s
        await running
    after = hurt.worker_pids()
    assert {number for number in before if before[number] != after[number]} == {2}
    [exited] = hurt.events("worker.exited")
    assert exited["worker"] == 2
    lost = [call for call in load.calls if call.status == NO_ANSWER]
    figures(
        "kill -9 a worker of 4",
        calls=len(load.calls),
        answers=by_status(load.calls),
        lost=len(lost),
        started_after_s=took_s,
    )
    assert {call.gateway for call in lost} <= {0}
    assert len(lost) <= SOCKETS
    assert set(by_status(load.calls)) <= {200, 429, NO_ANSWER}
    assert not [call for call in lost if call.sent_s > killed_s + took_s]
    assert [ledger.count(f"/w/t{tenant}/") for tenant in (0, 1)] == [LIMIT, LIMIT]


async def test_a_gateway_is_killed(fleet: Fleet, ledger: Ledger, figures: Figures) -> None:
    """Only its first process: the workers, left alone, finish what they have and end."""
    text = policies(ledger.url, {"w": RULE})
    hurt, other = await asyncio.gather(fleet(text, "--workers", "2"), fleet(text, "--workers", "2"))
    async with Load([hurt.port, other.port], sockets=64) as load:
        running = asyncio.create_task(load.run(evenly(["t0", "t1"], 150, 6, 2)))
        await pause(1, "the load has begun")
        pids = list(hurt.worker_pids().values())
        await hurt.kill()
        await eventually(lambda: not any(map(_runs, pids)))
        await running
    of = [[call for call in load.calls if call.gateway == number] for number in (0, 1)]
    figures("kill -9 a gateway of 2", its_calls=by_status(of[0]), the_others=by_status(of[1]))
    assert set(by_status(of[0])) <= {200, 429, NO_ANSWER}
    assert set(by_status(of[1])) == {200, 429}
    assert all(ledger.count(f"/w/t{tenant}/") <= LIMIT for tenant in (0, 1))


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


LEASE_S = 2.0
HELD = """
version: 1
keys:
  connection: {from: header, name: X-Connection-Id, on_missing: skip}
limits:
  slots: {algorithm: concurrency, limit: 3, lease: %(lease)gs, key: [connection]}
breakers:
  vendor: {key: [connection], consecutive_failures: 1, open_for: 1s}
upstreams:
  up: {url: "%(url)s", timeouts: {connect: 1s, first_byte: 20s, idle: 1s}}
  quick: {url: "%(url)s", timeouts: {connect: 500ms, first_byte: 1s, idle: 500ms}}
routes:
  - {name: slots, match: {path_prefix: /slots}, upstream: up, limits: [slots]}
  - {name: probes, match: {path_prefix: /probes}, upstream: quick, breaker: vendor}
"""


async def hold(_request: Received, socket: Socket) -> None:
    await socket.reader.read(1)


async def ask(session: aiohttp.ClientSession, gateway: Process, path: str) -> int:
    """The status; 0 if the gateway went away."""
    try:
        async with session.get(f"{gateway.url}{path}", headers={"X-Connection-Id": "c1"}) as answer:
            return answer.status
    except aiohttp.ClientError:
        return NO_ANSWER


async def other_than(refusal: int, session: aiohttp.ClientSession, gateway: Process, path: str) -> int:
    """The first status that is another one."""

    async def another() -> list[int]:
        return [status for status in [await ask(session, gateway, path)] if status != refusal]

    return (await eventually(another, gap_s=0.05))[0]


async def test_slots_of_a_killed_gateway_come_back(
    fleet: Fleet, own_redis_server: RedisServer, figures: Figures
) -> None:
    async with Upstream(hold) as upstream, aiohttp.ClientSession() as session:
        text = HELD % {"url": upstream.url, "lease": LEASE_S}
        killed, other = await asyncio.gather(fleet(text), fleet(text))
        calls = [asyncio.create_task(ask(session, killed, "/slots")) for _ in range(3)]
        await upstream.until(lambda: len(upstream.received) == 3)
        upstream.script = always(OK)
        await pause(1.5 * LEASE_S, "they are renewed")
        assert await ask(session, other, "/slots") == 429
        await killed.kill()
        lives_ms = own_redis_server.command("PTTL", "gw:slots:{=c1}")
        assert 0 < lives_ms <= 1000 * LEASE_S + 100
        began_s = asyncio.get_running_loop().time()
        status = await other_than(429, session, other, "/slots")
        figures("slots of a killed gateway", lease_s=LEASE_S, back_after_s=asyncio.get_running_loop().time() - began_s)
        assert status == 200
        assert await asyncio.gather(*calls) == [NO_ANSWER] * 3


async def test_the_probe_of_a_killed_gateway_comes_back(fleet: Fleet, figures: Figures) -> None:
    """Then another gateway probes, and the breaker closes: it is not held open by a dead gateway."""
    bad = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"
    async with Upstream(always(bad)) as upstream, aiohttp.ClientSession() as session:
        text = HELD % {"url": upstream.url, "lease": LEASE_S}
        killed, other = await asyncio.gather(fleet(text), fleet(text))
        await ask(session, killed, "/probes")
        upstream.script = hold
        probing = set()
        while len(upstream.received) == 1:
            probing.add(asyncio.create_task(ask(session, killed, "/probes")))
            await pause(0.05, "until it lets a probe pass")
        await killed.kill()
        upstream.script = always(OK)
        began_s = asyncio.get_running_loop().time()
        assert await ask(session, other, "/probes") == 503
        status = await other_than(503, session, other, "/probes")
        figures(
            "probe of a killed gateway", given_up_after_s=3.0, back_after_s=asyncio.get_running_loop().time() - began_s
        )
        assert status == 200
        await asyncio.gather(*probing)
        while not other.events("breaker.closed"):
            assert await ask(session, other, "/probes") in (200, 503)
