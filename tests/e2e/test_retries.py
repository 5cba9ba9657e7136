"""Retries of a real gateway under an outage and after it: what the upstream sees, what is told."""

import asyncio
import json
import re
from collections import Counter

import aiohttp

from tests.e2e.conftest import Launch, Process
from tests.fakes.upstream import OK, Received, Socket, Upstream, always

POLICIES = """
version: 1
retries:
  quick: {attempts: 5, backoff: {schedule: [10ms]}}
upstreams:
  up: {url: "%s", timeouts: {connect: 20s}}
routes:
  - {name: all, match: {path_prefix: /}, upstream: up, retry: quick}
"""
DOWN = b"HTTP/1.1 503 Down\r\nContent-Length: 4\r\n\r\ndown"
CALLS, AT_A_TIME = 400, 40


async def statuses(gateway: Process, count: int, at_a_time: int) -> Counter[int]:
    slots = asyncio.Semaphore(at_a_time)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def one() -> int:
            async with slots, session.get(f"{gateway.url}/x") as answer:
                await answer.read()
                return answer.status

        return Counter(await asyncio.gather(*(one() for _ in range(count))))


async def counted(gateway: Process, name: str) -> int:
    """The sum of a counter's series."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{gateway.admin_port}/metrics") as answer,
    ):
        return sum(int(float(value)) for value in re.findall(rf"(?m)^{name}(?:{{.*}})? (\S+)$", await answer.text()))


async def test_an_outage_is_not_made_worse_and_recovery_is_seen_at_once(launch: Launch, upstream: Upstream) -> None:
    gateway = await launch(POLICIES % upstream.url)
    upstream.script = always(DOWN)
    assert await statuses(gateway, CALLS, AT_A_TIME) == {503: CALLS}
    seen = len(upstream.received)
    assert CALLS < seen <= CALLS * 1.2 + 10
    assert await counted(gateway, "gateway_upstream_retries_total") == seen - CALLS
    assert await counted(gateway, "gateway_retry_budget_exhausted_total") > 0
    upstream.script = always(OK)
    assert await statuses(gateway, 500, 500) == {200: 500}
    assert len(upstream.received) == seen + 500


async def test_a_call_given_up_is_an_event_and_its_line_has_every_attempt(launch: Launch, upstream: Upstream) -> None:
    gateway = await launch(POLICIES % upstream.url)

    async def hang_up(_request: Received, socket: Socket) -> None:
        socket.reset()

    upstream.script = hang_up
    assert await statuses(gateway, 1, 1) == {502: 1}
    assert await gateway.stop() == 0
    (line,) = gateway.calls()
    assert [(one["n"], one["error_class"]) for one in line["attempts"]] == [(n, "reset") for n in range(1, 6)]
    assert (line["status"], line["error_class"], line["problem_code"]) == (502, "reset", "UPSTREAM_UNREACHABLE")
    assert line["retry_wait_ms"] > 30  # four times 10, and a loop's clock ticks in whole milliseconds
    parts = sum(line.get(f"{part}_ms", 0) for part in ("gateway", "store", "queue", "upstream", "retry_wait"))
    assert abs(parts - line["duration_ms"]) < 0.01
    events = [json.loads(text) for text in (gateway.log.parent / "stdout").read_text().splitlines()]
    (told,) = [one for one in events if one["event_name"] == "upstream.gave_up"]
    assert (told["level"], told["reason"], told["request_id"]) == ("error", "attempts", line["request_id"])
    assert told["attempts"] == line["attempts"]
