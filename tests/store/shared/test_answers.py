"""Answers in the store: what others find, whose turn it is to fetch, bounds, and what makes them wrong.

All of it on one server, behind Sentinels, and on a cluster.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest
import redis.asyncio

from gateway.core.cache.key import Shelf
from gateway.core.cache.place import Found, Place
from gateway.core.cache.rules import Stored
from gateway.store.scripts.answers import ANSWERS, ANSWERS_ARGV
from gateway.store.shared.answers import SharedAnswers
from tests.contract.test_script_headers import arguments, header
from tests.core.cache.cache_cases import NOW_US, S, kept
from tests.fakes.redis_cluster import RedisCluster
from tests.fakes.redis_sentinel import SentinelGroup
from tests.fakes.redis_server import RedisServer

FRESH = "Cache-Control: max-age=60"
BOUND = 100_000


class World:
    """The store under a clock of the test's own."""

    def __init__(self, store: Any, client: Any) -> None:
        self.answers = SharedAnswers(store, now_us=NOW_US)
        self.client = client

    def later(self, us: int) -> None:
        self.answers.now_us += us

    async def put(self, place: Place, stored: Stored, *, asked_ago_us: int = 0, most_bytes: int = BOUND) -> None:
        """Told, and taken in: what is asked behind it has its answer."""
        now_us = self.answers.now_us
        self.answers.put(place, stored, asked_us=now_us - asked_ago_us, now_us=now_us, most_bytes=most_bytes)
        await self.told()

    async def told(self) -> None:
        """What was told has been heard."""
        while self.answers._telling:
            await asyncio.wait([*self.answers._telling])

    async def find(self, place: Place, known: Stored | None = None, **more: Any) -> Found:
        return await self.answers.find(place, known, self.answers.now_us, **more)

    async def bytes(self) -> int:
        return int(await self.client.get("t:answers:{all}:bytes") or 0)


@pytest.fixture(params=["server", "sentinels", "cluster"])
async def world(request: pytest.FixtureRequest, open_store: Callable[..., Any]) -> AsyncIterator[World]:
    if request.param == "server":
        server: RedisServer = request.getfixturevalue("redis_server")
        url = server.url
    elif request.param == "sentinels":
        group: SentinelGroup = request.getfixturevalue("sentinel_group")
        server, url = group.primary, group.url
    else:
        cluster: RedisCluster = request.getfixturevalue("emptied_cluster")
        server, url = cluster.owner("t:answers:{all}:index"), cluster.url
    async with redis.asyncio.Redis.from_url(server.url) as client:
        await client.flushall()
        yield World(await open_store(url, key_prefix="t:"), client)


def place(target: str = "/a", owner: str = "acme", variant: bytes = b"v" * 16, vary: tuple[bytes, ...] = ()) -> Place:
    return Place("all", Shelf(owner, "http", "gw", target), variant, vary)


def stored(*lines: str, target: str = "/a", tenant: str = "acme", stamp: str = "s1", **more: Any) -> Stored:
    return replace(kept(FRESH, *lines, **more), target=target, tenant=tenant, stamp=stamp)


def test_header_and_code_name_the_same_arguments() -> None:
    assert arguments(header("answers")) == ANSWERS_ARGV
    assert len(ANSWERS.sha1_hex) == 40


async def test_what_one_puts_another_finds(world: World) -> None:
    one = replace(stored("X-A: \xe9", body=b"\x00\xff" * 50), reason="G\udce4rn", target="/a\udce4")
    await world.put(place("/a\udce4"), one)
    world.later(7 * S)
    found = await world.find(place("/a\udce4"))
    assert (found.vary, found.fetches) == (None, "")
    assert found.stored == replace(one, at_us=NOW_US + 7 * S, age_us=7 * S)
    assert await world.find(place("/b")) == await world.find(place("/a\udce4", "other")) == Found()
    assert await world.find(place("/a\udce4", variant=b"w" * 16)) == Found()


async def test_who_has_it_already_gets_no_body_again(world: World) -> None:
    one = stored(body=b"x" * 50_000)
    await world.put(place(), one)
    world.later(S)
    await world.client.delete("t:answers:{all}:nothing")
    before = (await world.client.info("stats"))["total_net_output_bytes"]
    found = await world.find(place(), one)
    after = (await world.client.info("stats"))["total_net_output_bytes"]
    assert found.stored == replace(one, at_us=NOW_US + S, age_us=S)
    assert after - before < 45_000, "with what Sentinels may have asked meanwhile"


async def test_what_answers_depend_on_is_told_first(world: World) -> None:
    await world.put(place(vary=(b"x-a", b"x-b")), stored())
    assert await world.find(place(), token="me", lease_ms=1000) == Found((b"x-a", b"x-b"))
    assert (await world.find(place(vary=(b"x-a", b"x-b")))).stored is not None
    await world.put(place(), stored())
    assert await world.find(place(vary=(b"x-a",))) == Found(())


async def test_one_fetches_and_the_others_hear_of_it(world: World) -> None:
    me: dict[str, Any] = {"token": "me", "lease_ms": 60_000}
    you: dict[str, Any] = {"token": "you", "lease_ms": 60_000}
    assert (await world.find(place())).fetches == ""
    assert (await world.find(place(), **me)).fetches == "mine"
    assert (await world.find(place(), **me)).fetches == "mine"
    assert (await world.find(place(), **you)).fetches == "theirs"
    world.answers.release(place(), "you", "", 0)
    await world.told()
    assert (await world.find(place(), **you)).fetches == "theirs"
    world.answers.release(place(), "me", "", 0)
    await world.told()
    assert (await world.find(place(), **you)).fetches == "mine"
    world.answers.release(place(), "you", "own", 60_000)
    await world.told()
    assert (await world.find(place(), **me)).fetches == "own"


async def test_a_lease_ends_when_its_holder_is_gone(world: World) -> None:
    assert (await world.find(place(), token="me", lease_ms=60_000)).fetches == "mine"
    (key,) = await world.client.keys("t:answers:{all}:l:*")
    assert 0 < await world.client.pttl(key) <= 60_000


async def test_a_lease_is_renewed_by_its_holder(world: World) -> None:
    await world.find(place(), token="me", lease_ms=20_000)
    (key,) = await world.client.keys("t:answers:{all}:l:*")
    world.answers.renew(place(), "you", 60_000)
    await world.told()
    assert await world.client.pttl(key) <= 20_000
    world.answers.renew(place(), "me", 60_000)
    world.answers.renew(place("/b"), "me", 60_000)
    await world.told()
    assert await world.client.pttl(key) > 50_000
    assert await world.client.keys("t:answers:{all}:l:*") == [key]


async def test_what_was_asked_for_earlier_does_not_take_the_place_of_what_is_there(world: World) -> None:
    newer, older = stored(body=b"new"), stored(body=b"old", stamp="s0")
    await world.put(place(), newer)
    world.later(10 * S)
    await world.put(place(), older, asked_ago_us=11 * S)
    found = (await world.find(place())).stored
    assert found is not None
    assert found.body == b"new"
    await world.put(place(), older, asked_ago_us=9 * S)
    found = (await world.find(place())).stored
    assert found is not None
    assert found.body == b"old"


async def test_what_is_there_is_fetched_again_only_if_somebody_insists(world: World) -> None:
    await world.put(place(), stored())
    found = await world.find(place(), token="me", lease_ms=1000)
    assert (found.stored is not None, found.fetches) == (True, "")
    found = await world.find(place(), token="me", lease_ms=1000, insist=True)
    assert (found.stored is not None, found.fetches) == (True, "mine")


async def test_the_bound_holds_and_what_is_useless_soonest_goes_first(world: World) -> None:
    for number in range(12):
        one = stored(f"Cache-Control: s-maxage={100 + number}", target=f"/{number}", body=b"x" * 9_000)
        await world.put(place(f"/{number}"), one, most_bytes=50_000)
    assert 30_000 < await world.bytes() <= 50_000
    there = [number for number in range(12) if (await world.find(place(f"/{number}"))).stored is not None]
    assert there == [*range(12 - len(there), 12)] != []
    await world.put(place("/large"), stored(target="/large", body=b"x" * 60_000), most_bytes=50_000)
    assert (await world.find(place("/large"))).stored is None


async def test_what_has_expired_makes_room(world: World) -> None:
    for number in range(40):
        await world.put(place(f"/{number}"), stored(target=f"/{number}"))
    full = await world.bytes()
    world.later(61 * S)
    await world.put(place("/new"), stored(target="/new"))
    assert 0 < await world.bytes() < full / 2


async def test_variants_of_one_request_are_bounded(world: World) -> None:
    for number in range(50):
        await world.put(place(variant=b"%016d" % number), stored())
    (shelf,) = await world.client.keys("t:answers:{all}:s:*")
    assert await world.client.hlen(shelf) == 33
    assert (await world.find(place(variant=b"%016d" % 49))).stored is not None
    assert len(await world.client.keys("t:answers:{all}:a:*")) == 32


async def test_a_server_that_evicts_keys_does_not_make_it_full_for_ever(world: World) -> None:
    await world.put(place(), stored())
    await world.client.set("t:answers:{all}:bytes", 10**9)
    await world.client.delete("t:answers:{all}:about", "t:answers:{all}:index")
    await world.put(place("/b"), stored(target="/b"))
    assert (await world.find(place("/b"))).stored is not None
    assert await world.bytes() == stored().size_bytes


async def test_replacing_counts_its_bytes_once(world: World) -> None:
    for _ in range(3):
        await world.put(place(), stored())
    assert await world.bytes() == stored().size_bytes


async def test_a_change_makes_wrong_what_is_there_and_what_was_asked_for_before(world: World) -> None:
    await world.put(place(), stored())
    world.later(1)
    world.answers.forget("all", "/a")
    await world.told()
    assert (await world.find(place())).stored is None
    await world.put(place(), stored(), asked_ago_us=1)
    assert (await world.find(place())).stored is None
    world.later(5)
    await world.put(place(), stored(), asked_ago_us=1)
    assert (await world.find(place())).stored is not None


async def test_purges_by_tenant_and_by_what_was_asked_for(world: World) -> None:
    async def fill() -> None:
        world.later(10)
        for tenant in ("acme", "b c", ""):
            for target in ("/a", "/ab", "/b?x=1 2"):
                await world.put(place(target, tenant), stored(target=target, tenant=tenant))

    purge = world.answers.purge
    for tenant, prefix, count in (
        (None, "", 9),
        ("acme", "", 3),
        ("b c", "/a", 2),
        ("", "/b?x=1 2", 1),
        (None, "/b", 3),
        ("x", "", 0),
    ):
        await fill()
        assert await purge("all", tenant, prefix) == count, (tenant, prefix)
        assert await world.client.zcard("t:answers:{all}:index") == 9 - count
        await purge("all", None, "")
    assert await world.bytes() == 0
    assert await purge("other", None, "") == 0


async def test_a_purge_of_very_many_goes_in_pieces(world: World) -> None:
    for number in range(1203):
        await world.put(place(f"/{number % 7}/{number}"), stored(target=f"/{number % 7}/{number}"), most_bytes=10**7)
    assert await world.answers.purge("all", None, "/3/") == 172
    assert await world.answers.purge("all", None, "") == 1203 - 172
    assert await world.client.keys("t:answers:{all}:[as]:*") == []


async def test_how_many_there_are_and_their_bytes(world: World) -> None:
    assert await world.answers.size("all") == (0, 0)
    await world.put(place("/a"), stored(target="/a"))
    await world.put(place("/b"), stored(target="/b", body=b"x" * 100))
    each = stored().size_bytes
    assert await world.answers.size("all") == (2, 2 * each + 90)
    assert await world.answers.size("other") == (0, 0)
    world.later(61 * S)
    await world.put(place("/c"), stored(target="/c"))
    assert await world.answers.size("all") == (1, each)
    world.later(61 * S)  # what has expired waits for room to be made, or for somebody who looks
    assert await world.bytes() == each
    assert await world.answers.size("all") == (0, 0)


async def test_very_many_that_have_expired_are_counted_in_neither(world: World) -> None:
    for number in range(300):
        await world.put(place(f"/{number}"), stored(target=f"/{number}"), most_bytes=10**7)
    world.later(S)
    await world.put(place("/last"), stored(target="/last"), most_bytes=10**7)
    count, size_bytes = await world.answers.size("all")
    assert (count, size_bytes) == (301, await world.bytes())
    world.later(60 * S - 1_000)
    assert await world.answers.size("all") == (1, stored(target="/last").size_bytes)
    assert await world.client.zcard("t:answers:{all}:index") == 1


async def test_what_was_asked_for_before_a_purge_is_not_kept(world: World) -> None:
    await world.answers.purge("all", None, "/other")
    await world.put(place(), stored(), asked_ago_us=1)
    assert (await world.find(place())).stored is None


async def test_every_key_ends_by_itself(world: World) -> None:
    await world.put(place(), stored())
    world.answers.forget("all", "/a")
    await world.told()
    await world.answers.purge("all", "x", "")
    await world.find(place("/b"), token="me", lease_ms=60_000)
    world.answers.release(place("/c"), "", "own", 60_000)
    await world.told()
    await world.find(place())
    keys = await world.client.keys("t:answers:*")
    assert len(keys) == 9
    for key in keys:
        assert await world.client.pttl(key) > 0, key


async def test_an_answer_of_another_format_is_none(world: World) -> None:
    await world.put(place(), stored())
    await world.find(place())
    (key,) = await world.client.keys("t:answers:{all}:a:*")
    await world.client.set(key, b"\x02whatever")
    assert (await world.find(place())).stored is None
