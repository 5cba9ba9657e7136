"""Another policy set while calls are served: who keeps what, and what is left of the old one."""

import asyncio
import gc
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway import policy
from gateway.core.access.authentication import hash_text
from gateway.core.policy import PolicySet
from gateway.reload.swap import discard, prepare, swap
from gateway.settings import HeaderSettings
from tests.app.conftest import Running, Start
from tests.fakes.collector import no_collector
from tests.fakes.upstream import Upstream

KEY = "gk_0123456789abcdefghijklmnopqrstuv"
POLICY = """
keys:
  tenant: {{from: header, name: X-Tenant-Id, on_missing: reject}}
limits:
  w: {{algorithm: {algorithm}, limit: {limit}, window: {window}, key: [tenant]}}
upstreams:
  api: {{url: {url}}}
routes:
  - {{name: {route}, match: {{path_prefix: /}}, upstream: api, limits: [w]}}
"""


def text(url: str, limit: int = 5, window: str = "10m", algorithm: str = "rolling_window", route: str = "all") -> str:
    return POLICY.format(url=url, limit=limit, window=window, algorithm=algorithm, route=route)


async def change(running: Running, yaml: str, tmp_path: Path, **settings: object) -> None:
    """As a worker does it."""
    file = tmp_path / "new.yaml"
    file.write_text(yaml)
    gateway = running.gateway
    prepared = await prepare(gateway, replace(gateway.settings, **settings), policy.load([file]))
    close_before = swap(gateway, prepared)
    running.listener.use(gateway.settings.bounds)
    await close_before()


async def status(running: Running, path: str = "/x", tenant: str = "a") -> int:
    answer = await running.raw(
        f"GET {path} HTTP/1.1\r\nHost: g\r\nX-Tenant-Id: {tenant}\r\nConnection: close\r\n\r\n".encode()
    )
    return int(answer.split()[1])


@pytest.mark.parametrize("algorithm", ["rolling_window", "fixed_window"])
async def test_what_was_counted_counts_under_the_new_number(
    algorithm: str, start: Start, upstream: Upstream, tmp_path: Path
) -> None:
    one = await start(text(upstream.url, 5, algorithm=algorithm))
    assert [await status(one) for _ in range(6)] == [200] * 5 + [429]
    await change(one, text(upstream.url, 7, algorithm=algorithm), tmp_path)
    assert [await status(one) for _ in range(3)] == [200, 200, 429], "two more, not seven"
    await change(one, text(upstream.url, 3, algorithm=algorithm), tmp_path)
    assert await status(one) == 429
    await change(one, text(upstream.url, 8, algorithm=algorithm), tmp_path)
    assert [await status(one) for _ in range(2)] == [200, 429]


async def test_a_call_keeps_the_set_it_began_with(start: Start, upstream: Upstream, tmp_path: Path) -> None:
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def slow(_request: object, _socket: object) -> bytes:
        arrived.set()
        await go_on.wait()
        return b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

    upstream.script = slow
    one = await start(text(upstream.url, 5))
    old = one.gateway.policies.version
    under_way = asyncio.create_task(status(one))
    await arrived.wait()
    async with Upstream() as other:
        await change(one, text(other.url, 5), tmp_path)
        assert await status(one) == 200, "the new one is asked at the new address"
        assert len(other.received) == 1
        go_on.set()
        assert await under_way == 200
    versions = [record.policy_version for record in await one.records.wait(2)]
    assert versions == [one.gateway.policies.version, old]
    assert old != versions[0]


async def test_a_call_that_waits_for_keys_finds_the_upstream_it_began_with(
    start: Start, upstream: Upstream, tmp_path: Path
) -> None:
    """Nobody else has called it, so nothing but the call keeps its sockets' pool."""
    guarded = text(upstream.url).replace("upstream: api", "upstream: api, authenticate: [partners]")
    guarded += f"authentication:\n  partners: {{type: api_keys, keys: [{{hash: '{hash_text(KEY)}'}}]}}\n"
    one = await start(guarded)
    authenticate, arrived, go_on = one.gateway.authenticator.authenticate, asyncio.Event(), asyncio.Event()

    async def slow(*asked: Any) -> Any:
        arrived.set()
        await go_on.wait()
        return await authenticate(*asked)

    one.gateway.authenticator.authenticate = slow  # type: ignore[method-assign]
    head = f"GET /x HTTP/1.1\r\nHost: g\r\nX-Tenant-Id: a\r\nX-Api-Key: {KEY}\r\nConnection: close\r\n\r\n"
    under_way = asyncio.create_task(one.raw(head.encode()))
    await arrived.wait()
    async with Upstream() as other:
        await change(one, guarded.replace(upstream.url, other.url), tmp_path)
        gc.collect()
        go_on.set()
        assert (await under_way).startswith(b"HTTP/1.1 200 ")
        assert (len(upstream.received), len(other.received)) == (1, 0)


async def test_sockets_to_an_upstream_that_did_not_change_are_kept(
    start: Start, upstream: Upstream, tmp_path: Path
) -> None:
    one = await start(text(upstream.url, 50))
    await status(one)
    pool = one.gateway.upstreams.pools()["api"]
    await change(one, text(upstream.url, 40), tmp_path)
    await status(one)
    assert one.gateway.upstreams.pools()["api"] is pool
    assert upstream.accepted == 1
    async with Upstream() as other:
        await change(one, text(other.url, 40), tmp_path)
        assert (pool.active, pool.idle) == (0, 0)


async def test_settings_that_may_change_do(start: Start, upstream: Upstream, tmp_path: Path) -> None:
    one = await start(text(upstream.url))
    request = b"GET / HTTP/1.1\r\nHost: g\r\nX-Tenant-Id: a\r\nConnection: close\r\n\r\n"
    assert b"\r\nRateLimit:" in await one.raw(request)
    bounds = replace(one.gateway.settings.bounds, target_bytes=100)
    await change(one, text(upstream.url), tmp_path, headers=HeaderSettings(ratelimit="off"), bounds=bounds)
    assert b"\r\nRateLimit:" not in await one.raw(request)
    assert await status(one, "/" + "x" * 200) == 414


async def test_what_was_prepared_and_given_up_changes_nothing(start: Start, upstream: Upstream, tmp_path: Path) -> None:
    one = await start(text(upstream.url))
    before = vars(one.gateway).copy()
    file = tmp_path / "new.yaml"
    file.write_text(text("http://127.0.0.1:1"))
    await discard(one.gateway, await prepare(one.gateway, one.gateway.settings, policy.load([file])))
    assert vars(one.gateway) == before
    assert await status(one) == 200


async def test_nothing_is_left_of_sets_that_were_replaced(start: Start, upstream: Upstream, tmp_path: Path) -> None:
    def sets() -> int:
        return sum(isinstance(one, PolicySet) for one in gc.get_objects())

    one = await start(text(upstream.url, 1000))
    await status(one)
    reader, writer = await asyncio.open_connection("127.0.0.1", one.port)  # a caller that stays, and says nothing more
    writer.write(b"GET /stay HTTP/1.1\r\nHost: g\r\nX-Tenant-Id: a\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    with no_collector():
        before = sets()
        for number in range(10):
            await change(one, text(upstream.url, 1000 + number, route=f"r{number}"), tmp_path)
            assert [await status(one, f"/{n}", tenant=f"t{n}") for n in range(3)] == [200] * 3
        one.records.all.clear()
        assert sets() <= before + 1, "not even until the collector comes"
    writer.close()
