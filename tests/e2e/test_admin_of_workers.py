"""The admin API of a gateway with two workers: whichever answers, it is the gateway that does."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from tests.e2e.conftest import Launch, Process
from tests.fakes.upstream import Upstream
from tests.fakes.waiting import eventually

POLICIES = """
version: 1
keys:
  tenant: {from: header, name: X-Tenant-Id, on_missing: reject}
limits:
  tenant-1h: {algorithm: rolling_window, limit: 3, window: 1h, key: [tenant]}
upstreams:
  up: {url: "%s"}
routes:
  - {name: all, match: {path_prefix: /}, upstream: up, limits: [tenant-1h]}
"""
OVERRIDE = "/-/limits/tenant-1h/acme/override"
TIMES = 12
"""How often something is asked, each time on a new socket: so surely both workers are among those who answer."""


class Operator:
    """Asks the admin listener, each time on a new socket."""

    def __init__(self, gateway: Process, session: aiohttp.ClientSession) -> None:
        self.gateway = gateway
        self.session = session
        self.admin = f"http://127.0.0.1:{gateway.admin_port}"

    async def ask(self, path: str, method: str = "GET", **options: Any) -> tuple[int, Any]:
        async with self.session.request(method, self.admin + path, **options) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if text[:1] in "{[" else text

    async def call(self, tenant: str = "acme") -> tuple[int, str]:
        """A call's status, and the limit that its answer tells of."""
        headers = {"X-Tenant-Id": tenant}
        async with self.session.get(self.gateway.url, headers=headers) as answer:
            await answer.read()
            return answer.status, answer.headers["RateLimit-Policy"]


@pytest.fixture
async def operator(launch: Launch, upstream: Upstream) -> AsyncIterator[Operator]:
    gateway = await launch(POLICIES % upstream.url, "--workers", "2")
    await gateway.said("gateway.ready", 2)
    connector = aiohttp.TCPConnector(force_close=True, limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        yield Operator(gateway, session)


async def test_an_override_holds_at_the_next_call_of_every_worker(operator: Operator) -> None:
    answers = [await operator.call() for _ in range(3 + TIMES)]
    assert [status for status, _ in answers] == [200] * 3 + [429] * TIMES
    status, body = await operator.ask(OVERRIDE, "PUT", json={"limit": 8, "ttl": "1h", "reason": "migration"})
    assert (status, body["before"]["limit"], body["after"]["limit"], body["after"]["remaining"]) == (200, 3, 8, 5)
    answers = [await operator.call() for _ in range(5 + TIMES)]
    assert [status for status, _ in answers] == [200] * 5 + [429] * TIMES
    assert [policy for _, policy in answers] == ['"tenant-1h";q=8;w=3600'] * len(answers)
    assert (await operator.call("other"))[1] == '"tenant-1h";q=3;w=3600'
    _, seen = await operator.ask("/-/limits/tenant-1h/acme")
    assert seen["override"].pop("ends_in_s") <= 3600
    assert seen["override"] == {"limit": 8, "instead_of": 3, "reason": "migration"}
    status, body = await operator.ask(OVERRIDE, "DELETE")
    assert (status, body["after"]["limit"], body["after"]["remaining"], "override" in body["after"]) == (
        200,
        3,
        0,
        False,
    )
    assert {await operator.call() for _ in range(TIMES)} == {(429, '"tenant-1h";q=3;w=3600')}
    await eventually(lambda: len(operator.gateway.events("admin.mutation")) == 2, "the lines to be written")
    told = [line["action"] for line in operator.gateway.events("admin.mutation")]
    assert told == ["limit.override", "limit.override_end"]


async def test_overrides_that_come_and_go_during_traffic_lose_no_count(operator: Operator) -> None:
    admitted, flipped = 0, asyncio.Event()

    async def keep_calling() -> None:
        nonlocal admitted
        while not flipped.is_set():
            status, _ = await operator.call()
            admitted += status == 200

    async def flip() -> None:
        for quota in (40, 60, None, 1) * 6:
            if quota is None:
                status, _ = await operator.ask(OVERRIDE, "DELETE")
            else:
                status, _ = await operator.ask(OVERRIDE, "PUT", json={"limit": quota, "ttl": "50ms", "reason": "x"})
            assert status == 200
        flipped.set()

    await asyncio.gather(flip(), *(keep_calling() for _ in range(8)))
    _, body = await operator.ask(OVERRIDE, "PUT", json={"limit": 1000, "ttl": "1h", "reason": "to see what is used"})
    assert 3 < admitted <= 60
    assert body["after"]["used"] == admitted


async def test_a_reset_holds_at_the_next_call_of_every_worker(operator: Operator) -> None:
    for _ in range(3 + TIMES):
        await operator.call()
    assert (await operator.ask("/-/limits/tenant-1h/acme", "DELETE"))[0] == 200
    assert [(await operator.call())[0] for _ in range(5)] == [200, 200, 200, 429, 429]


async def test_status_and_top_add_all_workers_up(operator: Operator) -> None:
    calls = await asyncio.gather(*(operator.call() for _ in range(3 * TIMES)))
    refused = sum(status == 429 for status, _ in calls)

    async def told() -> bool:
        return bool((await operator.ask("/-/status"))[1]["calls"] == len(calls))

    await eventually(told)
    for _ in range(TIMES):
        _, body = await operator.ask("/-/status")
        assert [worker["worker"] for worker in body["workers"]] == [0, 1]
        assert body["missing"] == []
        assert (body["calls"], body["by_source"]) == (len(calls), {"upstream": 3, "limit": refused})
        assert sum(worker["calls"] for worker in body["workers"]) == len(calls)
        assert body["limits"] == [{"limit": "tenant-1h", "asked": len(calls), "allowed": 3, "limited": refused}]
        assert body["latency"]["total"]["count"] == len(calls)
        assert body["store"]["up"] is True
        _, top = await operator.ask("/-/top?by=requests")
        (caller,) = top["callers"]
        assert (caller["limit"], caller["key"], caller["count"], caller["at_most"]) == (
            "tenant-1h",
            "acme",
            *[len(calls)] * 2,
        )
        _, top = await operator.ask("/-/top")
        assert [(one["key"], one["count"]) for one in top["callers"]] == [("acme", refused)]
    assert body["reloads"][0]["event_name"] == "policy.loaded"


async def test_repeated_reads_of_all_workers_are_added_up(operator: Operator) -> None:
    _, begun = await operator.ask("/-/repeats", "POST", json={"ttl": "1h"})
    assert (begun["workers"], begun["missing"]) == (2, [])
    await asyncio.gather(*(operator.call() for _ in range(3)))

    async def told() -> Any:
        answer = (await operator.ask("/-/repeats"))[1]
        return answer if answer["reads"] == 3 else None

    found = await eventually(told)
    assert (found["workers"], found["missing"], found["reads"], found["repeated"]) == (2, [], 3, 2)
    (one,) = found["repeats"]
    assert (one["tenant"], one["count"], one["at_most"], one["saves"]) == ("acme", 3, 3, 2)
    assert [(limit["limit"], limit["units"]) for limit in one["limits"]] == [("tenant-1h", 2)]


async def test_switches_are_those_of_all_workers_also_of_later_ones(operator: Operator) -> None:
    status, body = await operator.ask("/-/drain", "POST")
    assert (status, body["workers"], body["missing"], body["after"]["draining"]) == (200, 2, [], True)
    assert {(await operator.ask("/readyz"))[0] for _ in range(TIMES)} == {503}
    assert (await operator.call())[0] == 200
    await operator.ask("/-/log-level", "PUT", json={"level": "error", "ttl": "1h"})
    os.kill(operator.gateway.worker_pids()[1], signal.SIGKILL)

    async def replaced() -> bool:
        return len(operator.gateway.events("worker.started")) == 3 and await workers(operator) == [0, 1]

    await eventually(replaced)
    assert {(await operator.ask("/readyz"))[0] for _ in range(TIMES)} == {503}
    found = {(await operator.ask("/-/status"))[1]["switches"]["log_level"] for _ in range(TIMES)}
    assert found == {"error"}
    assert (await operator.ask("/-/drain", "DELETE"))[1]["after"]["draining"] is False
    assert {(await operator.ask("/readyz"))[0] for _ in range(TIMES)} == {200}


async def workers(operator: Operator) -> list[int]:
    _, body = await operator.ask("/-/status")
    return [worker["worker"] for worker in body["workers"]]


async def test_the_stream_brings_what_happens_in_every_worker(operator: Operator) -> None:
    url = operator.admin + "/-/stream?limited=1&tenant=acme"
    async with operator.session.get(url) as limited, operator.session.get(operator.admin + "/-/stream") as all_:
        assert await limited.content.readline() == b": listening\n"
        assert await all_.content.readline() == b": listening\n"
        heard: set[int] = set()
        for _ in range(3):
            await operator.call()
        while len(heard) < 2:
            await operator.call()
            await operator.call("other")
            line = await next_line(limited)
            assert (line["tenant"], line["decision"]) == ("acme", "limited")
            heard.add(line["worker"])
        await operator.ask("/-/drain", "DELETE")
        names = set()
        while names != {"http.access", "admin.mutation"}:
            names.add((await next_line(all_))["event_name"])


async def next_line(answer: aiohttp.ClientResponse) -> dict[str, Any]:
    while True:
        text = await answer.content.readline()
        if text.startswith(b"data: "):
            return json.loads(text[6:])


async def test_explain_charges_nothing_and_says_what_is_left(operator: Operator) -> None:
    await operator.call()
    call = {"method": "GET", "path": "/x", "headers": [["X-Tenant-Id", "acme"]]}
    for _ in range(TIMES):
        status, body = await operator.ask("/-/explain", "POST", json=call)
        assert (status, body["route"]["name"], body["decision"]["admitted"]) == (200, "all", True)
        assert body["limits"][0]["remaining"] == 2
    status, body = await operator.ask("/-/explain", "POST", json={"method": "GET", "path": "/x"})
    assert (status, body["refused"]["code"]) == (200, "RATE_LIMIT_KEY_MISSING")
