"""Events of a fleet reach whoever subscribed to them, whichever gateway is killed meanwhile."""

import asyncio
import json
import os
import signal
import socket
from collections import Counter
from typing import Any

import aiohttp
import pytest

from gateway.core.webhooks.signatures import signed
from tests.cli.command import gateway
from tests.e2e.conftest import Launch, Process
from tests.fakes.ports import free_port
from tests.fakes.provider import KEY, SECRET
from tests.fakes.receiver import Got, Receiver
from tests.fakes.redis_server import RedisServer
from tests.fakes.waiting import eventually

POLICIES = """
version: 1
keys:
  tenant: {from: header, name: X-Tenant-Id, on_missing: anonymous}
  connection: {from: header, name: X-Connection-Id, on_missing: skip}
upstreams:
  up: {url: "http://127.0.0.1:%d"}
routes:
  - {name: all, upstream: up}
"""
HOOKS = """
webhooks:
  allow: [127.0.0.0/8]
  targets:
    ops: {url: "%s", secrets: [env:HOOK_SECRET], events: [connection.*], concurrency: 64, timeout: 1s, keep: {for: 1h}}
    deaf: {url: "%s", secrets: [env:HOOK_SECRET], events: [breaker.opened]}
"""
SOONER = "what waits for another try is tried now\n"

INTAKE = """
intake:
  sources:
    crm: {verify: standard, secrets: [env:HOOK_SECRET], to: {sync: {url: "%s"}}}
"""


async def fleet(launch: Launch, receiver: Receiver) -> list[Process]:
    """Two gateways of two workers, whose upstream is not there."""
    more = HOOKS % (receiver.url, receiver.url)
    start = [launch(POLICIES % free_port(), "--workers", "2", env={"HOOK_SECRET": SECRET}, more=more) for _ in range(2)]
    return list(await asyncio.gather(*start))


async def call(gateway: Process, connection: str) -> int:
    headers = {"X-Tenant-Id": "acme", "X-Connection-Id": connection, "Connection": "close"}
    async with aiohttp.ClientSession() as session, session.get(gateway.url, headers=headers) as answer:
        return answer.status


async def test_every_transition_arrives_though_a_gateway_is_killed(launch: Launch, receiver: Receiver) -> None:
    first, second = await fleet(launch, receiver)
    receiver.answer = lambda _got: 503 if len(receiver.got) <= 5 else 204
    names = [f"c-{number}" for number in range(20)]
    for name in names:
        assert await call(first, name) == 502
    while len({got.id for got in receiver.got}) < len(names):
        await receiver.wait(len(receiver.got) + 1)
    for pid in first.worker_pids().values():
        os.kill(pid, signal.SIGKILL)
    await first.kill()
    await call(second, "late")
    arrived: set[str] = set()
    while arrived != {*names, "late"}:  # those of the first gateway that got a 503 among them
        await receiver.wait(len(receiver.got) + 1)
        arrived = {json.loads(got.body)["connection"] for got in receiver.got[5:]}
    for got in receiver.got:
        assert signed([KEY], got.id, *_signature(got))
        told = json.loads(got.body)
        assert told["type"] in ("connection.degraded", "connection.offline")
        assert (told["id"], told["sequence"], told["data"]["tenant"]) == (got.id, 1, "acme")
    assert SECRET not in second.log.with_name("stdout").read_text()


async def test_what_is_lost_is_counted_from_0_on(launch: Launch, receiver: Receiver) -> None:
    """Of a series that comes with its first count Prometheus would say that it has not grown, and GatewayWebhooksLost nothing."""
    more = HOOKS % (receiver.url, receiver.url) + INTAKE % receiver.url
    one = await launch(POLICIES % free_port(), "--workers", "2", env={"HOOK_SECRET": SECRET}, more=more)
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{one.admin_port}/metrics") as answer,
    ):
        shown = [
            line for line in (await answer.text()).splitlines() if line.startswith("gateway_webhook_dropped_total")
        ]
    every = ("store_away", "queue_full", "queue_broken", "not_stored", "gateway_ended", "dead_letters_full")
    may = [*((name, reason) for name in ("ops", "deaf") for reason in every), ("crm:sync", "dead_letters_full")]
    assert sorted(shown) == sorted(
        f'gateway_webhook_dropped_total{{reason="{why}",receiver="{who}"}} 0.0' for who, why in may
    )


async def test_receivers_that_misbehave_hold_up_nobody(launch: Launch, receiver: Receiver) -> None:
    """They hang, fail, send elsewhere, never read: the good one is told everything, and what waits for them is bounded."""
    statuses = {"/good": 204, "/hang": None, "/500": 500, "/302": 302}
    receiver.answer, receiver.fields = lambda got: statuses[got.path], {"Location": "/canary"}
    urls = {path: receiver.url.replace("/hook", path) for path in statuses}
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        urls["/deaf"] = f"http://127.0.0.1:{deaf.getsockname()[1]}/"
        targets = [f'    t{path[1:]}: {{url: "{url}", secrets: [env:HOOK_SECRET]}}\n' for path, url in urls.items()]
        more = "webhooks:\n  allow: [127.0.0.0/8]\n  most_waiting: 10\n  targets:\n" + "".join(targets)
        one = await launch(POLICIES % free_port(), env={"HOOK_SECRET": SECRET}, more=more)
        for number in range(30):
            assert await call(one, f"c-{number}") == 502
            while f"c-{number}" not in [
                json.loads(got.body)["connection"] for got in receiver.got if got.path == "/good"
            ]:
                await receiver.wait(len(receiver.got) + 1)
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{one.admin_port}/-/webhooks") as answer,
        ):
            waiting = {queue["receiver"]: queue["waiting"] for queue in (await answer.json())["webhooks"]}
        async with aiohttp.ClientSession() as session:
            shown: dict[str, int] = {}
            while any(
                shown.get(name) != waiting[name] for name in ("thang", "t500", "t302", "tdeaf")
            ):  # every few seconds
                async with session.get(f"http://127.0.0.1:{one.admin_port}/-/status") as answer:
                    shown = {queue["receiver"]: queue["waiting"] for queue in (await answer.json())["webhooks"]}
        asked = ("webhooks", "test", "tdeaf", "--admin", f"127.0.0.1:{one.admin_port}")
        done = await asyncio.to_thread(gateway, *asked)
        assert (done.returncode, done.stdout, "The queue of tdeaf is full: nothing was sent." in done.stderr) == (
            1,
            "",
            True,
        )
    await one.stop()
    dropped = Counter[str]()
    for line in one.events("webhook.dropped"):
        assert line["reason"] == "queue_full"
        dropped[line["receiver"]] += line["count"]
    assert waiting == {"tgood": waiting["tgood"], "thang": 10, "t500": 10, "t302": 10, "tdeaf": 10}
    assert {name for name, count in dropped.items() if count >= 20} == waiting.keys() - {"tgood"}
    assert {got.path for got in receiver.got} == statuses.keys(), "nobody asked for the canary"
    assert all(signed([KEY], got.id, *_signature(got)) for got in receiver.got)


def _signature(got: Got) -> tuple[str, bytes, str]:
    return got.headers["webhook-timestamp"], got.body, got.headers["webhook-signature"]


async def test_operators_look_after_it(
    launch: Launch, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, redis_client: Any
) -> None:
    more = HOOKS.replace("timeout: 1s", "timeout: 20s") % (receiver.url, receiver.url)
    more += INTAKE % receiver.url
    one = await launch(POLICIES % free_port(), env={"HOOK_SECRET": SECRET}, more=more)
    monkeypatch.setenv("GATEWAY_ADMIN", f"127.0.0.1:{one.admin_port}")

    async def run(*words: str) -> str:
        done = await asyncio.to_thread(gateway, *words)
        return done.stdout + done.stderr

    async def refused(why: str, order: str, *words: str) -> None:
        done = await asyncio.to_thread(gateway, "webhooks", order, "ops", *words)
        assert (done.returncode, done.stdout, why in done.stderr) == (1, "", True)

    async def until(word: str) -> str:
        async def listed() -> str:
            found = await run("webhooks", "list", "ops")
            return found if word in found else ""

        return await eventually(listed, word)

    assert [line.split()[:2] for line in (await run("webhooks", "list")).splitlines()[1:]] == [
        ["ops", "out"],
        ["deaf", "out"],
        ["crm:sync", "in"],
    ]
    receiver.answer = lambda _got: 410
    assert (await run("webhooks", "test", "ops")).startswith("queued as evt_")
    (got,) = await receiver.wait(1)
    assert json.loads(got.body)["type"] == "webhook.test"
    assert got.id in await until("status 410")
    receiver.answer = lambda _got: 204
    await refused("No dead letter has the id 'evt_other'.", "redrive", "--id", "evt_other")
    assert await run("webhooks", "redrive", "ops") == f"1 sent again, 0 left\n{SOONER}"
    await receiver.wait(2)
    assert receiver.got[1].id == got.id
    await until("done")
    receiver.answer = lambda _got: 500
    assert await run("webhooks", "replay", "ops", "--since", "1h") == "1 sent again, 0 left\n"
    await refused("No webhook that is kept", "replay", "--id", "evt_other")
    again = (await receiver.wait(3))[2]
    assert (again.id, again.headers["gateway-webhook-marks"]) == (got.id, "replayed")
    assert "Say which" in await run("webhooks", "replay", "ops")
    assert "no `keep`" in await run("webhooks", "replay", "crm:*", "--id", "x")
    assert "like 2026-11-21T14:00:00Z" in await run("webhooks", "replay", "ops", "--since", "yesterday")
    assert await run("webhooks", "redrive", "crm:*") == f"0 sent again, 0 left\n{SOONER}"
    for words in (("list", "x"), ("redrive", "x:*"), ("replay", "x", "--id", "1")):
        assert f"no receiver of webhooks named {words[1]}" in await run("webhooks", *words)
    assert "answers 409" in await run("webhooks", "test", "crm:sync")
    await redis_client.set("gw:queue:{out}:to:deaf", "something else")
    ops, deaf, _, why = (await run("webhooks", "list")).splitlines()[1:]
    assert (ops.split()[:2], deaf.split()[:3]) == (["ops", "out"], ["deaf", "out", "-"])
    assert why.startswith("deaf: no queue: WRONGTYPE")
    assert "cannot do it: WRONGTYPE" in await run("webhooks", "list", "deaf")
    done = await asyncio.to_thread(gateway, "webhooks", "test", "deaf")
    assert (done.returncode, done.stdout, "queue of deaf is no queue" in done.stderr) == (3, "", True)


async def test_a_store_that_is_away_at_the_start_is_told_of(
    launch: Launch, receiver: Receiver, own_redis_server: RedisServer
) -> None:
    """As soon as it is there to keep the events: that it came back alone would be half of the story."""
    own_redis_server.kill()
    more = HOOKS.replace("connection.*", "store.*") % (receiver.url, receiver.url)
    await launch(POLICIES % free_port(), env={"HOOK_SECRET": SECRET}, more=more, store=own_redis_server.url)
    own_redis_server.start()

    def arrived() -> set[str]:
        return {json.loads(got.body)["type"] for got in receiver.got}

    await eventually(lambda: arrived() == {"store.degraded", "store.recovered"})
