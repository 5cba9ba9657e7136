"""What whole gateways keep together: two of them with two workers each, and one real server behind."""

import asyncio
import json
import sys
from secrets import token_hex
from typing import Any

import aiohttp
import pytest

from tests.app.caching import answer
from tests.e2e.conftest import Launch, Process
from tests.fakes.gateways import ROOT
from tests.fakes.upstream import Received, Socket, Upstream, always
from tests.fakes.waiting import eventually

POLICIES = """
version: 1
keys:
  tenant: {from: header, name: X-Tenant-Id, on_missing: reject}
limits:
  calls: {algorithm: rolling_window, limit: 1000, window: 1h, key: [tenant]}
upstreams:
  up: {url: "%s"}
routes:
  - name: all
    match: {path_prefix: /}
    upstream: up
    limits: [calls]
    modules: {cache: {match: {path: "/things/{id}"}, vary_by: [tenant], ttl: 1h, stale_if_error: 1h}}
"""


@pytest.fixture
async def pair(launch: Launch, upstream: Upstream) -> list[Process]:
    return [await launch(POLICIES % upstream.url, "--workers", "2") for _ in range(2)]


@pytest.fixture(params=["sentinel_group", "redis_cluster"])
async def pair_elsewhere(request: pytest.FixtureRequest, launch: Launch, upstream: Upstream) -> list[Process]:
    """On another kind of store, which others use as well."""
    url, env = request.getfixturevalue(request.param).url, {"GATEWAY_STORE__KEY_PREFIX": f"t{token_hex(4)}:"}
    return [await launch(POLICIES % upstream.url, "--workers", "2", store=url, env=env) for _ in range(2)]


async def get(gateway: Process, path: str, fields: dict[str, str] | None = None) -> tuple[int, str, str]:
    """On a socket of its own, so that any worker may get it: status, body and Cache-Status."""
    said = {"Host": "gateway.test", "X-Tenant-Id": "acme", "Connection": "close", **(fields or {})}
    async with aiohttp.ClientSession() as session, session.get(f"{gateway.url}{path}", headers=said) as got:
        return got.status, await got.text(), got.headers.get("Cache-Status", "")


async def test_nobody_gets_what_was_answered_to_anothers_key(pair: list[Process], upstream: Upstream) -> None:
    """An upstream that knows its callers by a field of its own, and says nothing of it in its answers."""
    names = ("X-Api-Key", "X-Auth-Token", "Ocp-Apim-Subscription-Key", "Cookie")

    async def account(got: Received, _socket: Socket) -> bytes:
        said = "".join(value for name in names for value in got.fields(name))
        return answer(f"account of {said or 'nobody'}".encode(), "Cache-Control: max-age=3600")

    upstream.script = account
    asked: list[Any] = [None, *({name: f"caller{number}"} for name in names for number in range(3))]
    calls = [(gateway, fields) for fields in asked for gateway in pair for _ in range(4)]
    got = await asyncio.gather(*[get(gateway, "/things/account", fields) for gateway, fields in calls])
    for (_, fields), (status, body, told) in zip(calls, got, strict=True):
        assert (status, body) == (200, f"account of {''.join((fields or {}).values()) or 'nobody'}")
        assert fields is None or "hit" not in told
    assert len(upstream.received) == 1 + 8 * 12  # for all who show none: once


async def bodies(pair: list[Process]) -> set[str]:
    """Of many calls to all workers."""
    return {body for _, body, _ in await asyncio.gather(*[get(one, "/things/1") for one in pair * 8])}


async def command(gateway: Process, *words: str) -> str:
    """What `gateway cache` with these words prints."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "cache", *words, "--admin", f"127.0.0.1:{gateway.admin_port}"),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0, printed
    return printed.decode()


async def test_what_is_kept_is_told_for_all_workers_together(pair: list[Process], upstream: Upstream) -> None:
    upstream.script = always(answer(b"x" * 1000))
    assert await bodies(pair) == {"x" * 1000}
    (route,) = json.loads(await command(pair[0], "show", "--json"))["routes"]
    assert (route["route"], route["store"]["entries"]) == ("all", 1)
    assert 1500 < route["store"]["bytes"] < 2500
    assert route["workers"]["entries"] in (1, 2)  # whichever workers were asked
    (theirs,) = json.loads(await command(pair[1], "show", "--json"))["routes"]
    assert (route["misses"] + theirs["misses"], route["hits"] + theirs["hits"]) == (1, 15)
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{pair[0].admin_port}/-/status") as answered,
    ):
        status = await answered.json()
    assert status["cache"] == [{name: value for name, value in route.items() if name != "store"}]
    titles, row = (await command(pair[0], "show")).splitlines()
    columns = "route|workers|workers bytes|store|store bytes|hits|misses|hit ratio"
    assert titles.split() == columns.replace("|", " ").split()
    assert row.split()[0] == "all"


async def test_what_one_fetches_all_have_and_a_purge_is_heard_by_all(pair: list[Process], upstream: Upstream) -> None:
    await fetched_by_one_and_purged_for_all(pair, upstream)


async def test_the_same_behind_sentinels_and_on_a_cluster(pair_elsewhere: list[Process], upstream: Upstream) -> None:
    await fetched_by_one_and_purged_for_all(pair_elsewhere, upstream)


async def fetched_by_one_and_purged_for_all(pair: list[Process], upstream: Upstream) -> None:
    upstream.script = always(answer(b"old"))
    assert await bodies(pair) == {"old"}
    assert len(upstream.received) == 1
    upstream.script = always(answer(b"new"))
    url = f"http://127.0.0.1:{pair[0].admin_port}/-/cache?route=all"
    async with aiohttp.ClientSession() as session, session.delete(url) as purged:
        assert (await purged.json())["purged"]["store"] == 1
    assert {(await get(pair[0], "/things/1"))[1] for _ in range(8)} == {"new"}

    async def new_for_all() -> bool:  # the other gateway may use the copies it has for a second
        return await bodies(pair) == {"new"}

    await eventually(new_for_all)
    assert len(upstream.received) == 2
