"""Callers that must show who they are, at a gateway with several workers, each with keys of its own to keep."""

import asyncio
import json
import os
import signal
from collections import Counter

import aiohttp
from aiohttp import web

from tests.e2e.conftest import Launch, Process
from tests.fakes.issuer import AUDIENCE, ISSUER, Issuer, jwk, token
from tests.fakes.upstream import Upstream
from tests.fakes.waiting import eventually

POLICIES = """
version: 1
authentication:
  staff: {type: jwt, issuer: "%(issuer)s", audience: "%(audience)s", algorithms: [RS256], jwks: "%(jwks)s"}
keys:
  tenant: {from: jwt, claim: org_id, on_missing: reject}
limits:
  tenant-10m: {algorithm: rolling_window, limit: 20, window: 10m, key: [tenant]}
upstreams:
  up: {url: "%(url)s"}
routes:
  - {name: all, upstream: up, authenticate: [staff], limits: [tenant-10m]}
"""


async def statuses(process: Process, shown: str, count: int) -> Counter[int]:
    """Of so many calls at once, each on a socket of its own, claiming to be as many tenants."""
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with aiohttp.ClientSession(connector=connector, headers={"Authorization": f"Bearer {shown}"}) as session:

        async def one(number: int) -> int:
            async with session.get(process.url, headers={"X-Tenant-Id": f"t{number}"}) as answer:
                return answer.status

        return Counter(await asyncio.gather(*map(one, range(count))))


async def test_workers_know_callers_by_their_tokens(launch: Launch, upstream: Upstream) -> None:
    async with Issuer([jwk("k1")]) as issuer:
        names = {"issuer": ISSUER, "audience": AUDIENCE, "jwks": issuer.url, "url": upstream.url}
        gateway = await launch(POLICIES % names, "--workers", "2")
        await issuer.fetched(2)  # each worker for itself
        assert await statuses(gateway, "made-up-secret", 40) == {401: 40}
        assert await statuses(gateway, token(), 40) == {200: 20, 429: 20}
        issuer.keys = [jwk("k1"), jwk("k2")]
        assert await statuses(gateway, token("k2", org_id="globex"), 40) == {200: 20, 429: 20}
        assert issuer.fetches <= 4  # once for each worker that saw the new key
    assert await gateway.stop() == 0
    known = [line for line in gateway.calls() if "auth_scheme" in line]
    assert {(line["auth_scheme"], line["auth_key"], line["tenant"]) for line in known} == {
        ("staff", "k1", "acme"),
        ("staff", "k2", "globex"),
    }
    assert Counter(line.get("error_detail") for line in gateway.calls())["malformed token"] == 40
    assert "secret" not in gateway.log.read_text()
    events = [json.loads(line) for line in (gateway.log.parent / "stdout").read_bytes().splitlines()]
    loaded = [line for line in events if line["event_name"] == "authentication.keys_loaded"]
    assert {(line["auth_scheme"], line["count"]) for line in loaded} >= {("staff", 1)}


async def test_workers_that_begin_while_the_issuer_is_away_know_its_keys(launch: Launch, upstream: Upstream) -> None:
    async with Issuer([jwk("k1")]) as issuer:
        names = {"issuer": ISSUER, "audience": AUDIENCE, "jwks": issuer.url, "url": upstream.url}
        gateway = await launch(POLICIES % names, "--workers", "2")
        await gateway.said("gateway.ready", 2)
        issuer.answer = web.Response(status=503)
        killed = {*gateway.worker_pids().values()}
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        await eventually(lambda: killed.isdisjoint(gateway.worker_pids().values()))
        assert await statuses(gateway, token(), 20) == {200: 20}
        await gateway.said("authentication.keys_failed", 2)
