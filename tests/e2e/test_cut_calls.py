"""Calls that a stop cuts are over like all others: each has its line, is counted, and gives back what it held."""

import asyncio
import signal
from typing import Any

from tests.e2e.conftest import Launch, until_ready_is
from tests.fakes.upstream import Received, Socket, Upstream
from tests.fakes.waiting import eventually

POLICIES = """
version: 1
keys:
  connection: {from: header, name: X-Connection-Id, on_missing: anonymous}
limits:
  slots: {algorithm: concurrency, limit: 100, lease: 60s, key: [connection]}
upstreams:
  up: {url: "%s"}
retries:
  patient: {attempts: 3, backoff: {schedule: [30s]}, budget: none}
routes:
  - {name: retried, match: {path_prefix: /retried}, upstream: up, limits: [slots], retry: patient}
  - {name: all, match: {path_prefix: /}, upstream: up, limits: [slots]}
"""
TARGETS = ("/head", "/body", "/retried", "/tunnel")
SWITCH = b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n"


UNTIL = {"/body": b"half", "/tunnel": b"Upgrade: raw\r\n"}


async def play(request: Received, socket: Socket) -> bytes | None:
    """Never a whole answer, except one that is tried again much later."""
    if request.target == "/retried":
        return b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"
    if request.target == "/body":
        await socket.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
    if request.target == "/tunnel":
        await socket.send(SWITCH)
    await socket.reader.read(1)
    return None


async def test_cut_calls(launch: Launch, upstream: Upstream, redis_client: Any) -> None:
    upstream.script = play
    gateway = await launch(POLICIES % upstream.url)
    ends = []
    for target in TARGETS * 5:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        more = "Connection: Upgrade\r\nUpgrade: raw\r\n" if target == "/tunnel" else ""
        writer.write(f"GET {target} HTTP/1.1\r\nHost: a\r\n{more}X-Connection-Id: c1\r\n\r\n".encode())
        if target in UNTIL:
            await reader.readuntil(UNTIL[target])
        ends.append(writer)
    await upstream.until(lambda: len(upstream.received) == len(ends))
    ended = asyncio.create_task(gateway.ended())
    while not ended.done():  # the first asks for a drain, the next cuts it short
        gateway.process.send_signal(signal.SIGINT)
        await asyncio.wait((ended,), timeout=0.2)
    assert ended.result() == 0
    for writer in ends:
        writer.close()
    lines = gateway.calls()
    assert sorted(line["path"] for line in lines) == sorted(TARGETS * 5)
    told = {(line["path"], line.get("aborted_by"), line.get("error_class")) for line in lines}
    assert told == {(target, "gateway", "drained") for target in TARGETS}
    held = [await redis_client.hgetall(key) for key in await redis_client.keys("gw:slots*")]
    assert held == []


async def test_a_second_signal_cuts_even_when_it_comes_during_the_delay(launch: Launch, upstream: Upstream) -> None:
    upstream.script = play
    gateway = await launch(POLICIES % upstream.url, env={"GATEWAY_DRAIN__DELAY": "10m", "GATEWAY_DRAIN__GRACE": "10m"})
    _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(b"GET /head HTTP/1.1\r\nHost: a\r\n\r\n")
    await upstream.until(lambda: len(upstream.received) == 1)
    gateway.process.send_signal(signal.SIGTERM)
    await until_ready_is(gateway, b" 503 ")
    gateway.process.send_signal(signal.SIGTERM)
    assert await gateway.ended() == 0
    writer.close()
    assert [line["error_class"] for line in gateway.calls()] == ["drained"]


async def test_slots_of_given_up_calls_outlive_their_gateway_for_as_long_as_the_upstream_goes_on(
    launch: Launch, upstream: Upstream, redis_client: Any
) -> None:
    """Not until their leases lapse: that would be a day."""
    upstream.script = play
    policies = POLICIES.replace("lease: 60s", "lease: 1d").replace('"%s"}', '"%s", goes_on: 5m}')
    gateway = await launch(policies % upstream.url)
    for path in ("/head", "/body"):
        _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % path.encode())
        await upstream.until(lambda path=path: any(one.target == path for one in upstream.received))
        writer.close()
    await eventually(lambda: len(gateway.calls()) == 2)
    assert await gateway.stop() == 0
    (key,) = await redis_client.keys("gw:slots*")
    now_s, _ = await redis_client.time()
    lasts_s = [ends_us / 1e6 - now_s for _, ends_us in await redis_client.zrange(key, 0, -1, withscores=True)]
    assert len(lasts_s) == 2
    assert all(0 < left_s <= 301 for left_s in lasts_s), lasts_s
