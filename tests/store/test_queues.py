"""Durable queues on a real server: each letter comes out at least once, to one worker at a time, in order where asked."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from gateway.core.redelivery import Step
from gateway.settings import StoreSettings
from gateway.store import StoreDown
from gateway.store.queues import PATIENCE, Letter, Office, Taken, open_queue_store, short
from tests.fakes.redis_cluster import RedisCluster
from tests.fakes.redis_server import RedisServer

S_US = 1_000_000
T0_US = 1_700_000_000 * S_US
LEASE_MS = 20_000


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Any]:
    """A link that waits longer than a busy machine takes."""
    store = open_queue_store(StoreSettings(url=url, timeout_us=5 * S_US))
    assert store is not None
    await store.start()
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture(params=["server", "cluster"])
async def office(request: pytest.FixtureRequest) -> AsyncIterator[Office]:
    """A new one, with a clock of its own."""
    if request.param == "server":
        url = request.getfixturevalue("redis_server").url
    else:
        cluster: RedisCluster = request.getfixturevalue("redis_cluster")
        url = cluster.url
    async with opened(url) as store:
        yield Office(store, uuid4().hex, now_us=T0_US)


async def put(office: Office, *letters: Letter, most: int = 100, seen_ms: int = 60_000) -> None:
    for letter in letters:
        assert (await office.append(letter, ["q"], seen_ms=seen_ms, most=most)).result == 1


async def take(office: Office, worker: str = "a", count: int = 10, concurrency: int = 10) -> list[Taken]:
    _, letters = await office.take("q", worker, count, concurrency=concurrency, lease_ms=LEASE_MS)
    return letters


def letter(id_: str, key: str = "", **more: object) -> Letter:
    return Letter(id_, b"body of " + id_.encode(), key=key, **more)  # type: ignore[arg-type]


def ids(letters: list[Taken]) -> list[str]:
    return [one.id for one in letters]


async def test_a_letter_comes_out_as_it_was_put_in(office: Office) -> None:
    await put(office, Letter("1", b"\x00\xff", about="c", marks="l", fields={"x": "é"}))
    office.now_us += S_US
    (taken,) = await take(office)
    assert taken._replace(entry="") == Taken("", 1, S_US, "1", "", 1, "l", {"x": "é"}, b"\x00\xff")
    settled = await office.settle("q", "a", taken, Step.DONE, log={"n": 1})
    assert settled.settled == 1
    standing = await office.show("q", tries=5, dead=5)
    assert (standing.waiting, standing.trying, standing.dead, standing.tries) == (0, 0, 0, [{"n": 1}])
    assert await take(office) == []


async def test_a_letter_seen_before_is_not_taken_again(office: Office) -> None:
    await put(office, letter("1"))
    assert (await office.append(letter("1"), ["q"], seen_ms=60_000, most=100)).result == 0
    assert (await office.show("q")).waiting == 1


async def test_letters_about_the_same_are_numbered(office: Office) -> None:
    sent = [Letter(str(n), b"", about=about) for n, about in enumerate("ababa")]
    await put(office, *sent)
    assert [one.sequence for one in await take(office)] == [1, 1, 2, 2, 3]


async def test_one_worker_at_a_time(office: Office) -> None:
    await put(office, letter("1"), letter("2"))
    assert ids(await take(office, "a", count=1)) == ["1"]
    assert ids(await take(office, "b")) == ["2"]
    assert await take(office, "c") == []


async def test_no_more_at_once_than_allowed_by_all_together(office: Office) -> None:
    await put(office, *map(letter, "123"))
    assert len(await take(office, "a", concurrency=2)) == 2
    assert await take(office, "b", concurrency=2) == []


async def test_what_a_dead_worker_has_taken_another_one_gets(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    await put(office, letter("1"))
    (first,) = await take(office, "a")
    monkeypatch.setitem(globals(), "LEASE_MS", 0)
    (again,) = await take(office, "b")
    assert (again.entry, again.tries) == (first.entry, 2)
    late = await office.settle("q", "a", first, Step.RETRY, wait_ms=0, log={})
    assert late.settled == 0, "it is b's now"
    assert (await office.show("q")).trying == 1
    assert (await office.settle("q", "b", again, Step.DONE, log={})).settled == 1


async def test_a_try_that_comes_too_late_still_delivers(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    await put(office, letter("1"))
    (first,) = await take(office, "a")
    monkeypatch.setitem(globals(), "LEASE_MS", 0)
    (again,) = await take(office, "b")
    assert (await office.settle("q", "a", first, Step.DONE, log={})).settled == 1
    assert (await office.settle("q", "b", again, Step.DEAD, log={})).settled == 0
    assert (await office.show("q")).dead == 0


async def test_tried_again_when_it_is_due(office: Office) -> None:
    await put(office, letter("1"))
    (taken,) = await take(office)
    await office.settle("q", "a", taken, Step.RETRY, wait_ms=2_000, log={})
    wait_ms, none = await office.take("q", "a", 1, concurrency=9, lease_ms=LEASE_MS)
    assert (wait_ms, none) == (2_000, [])
    assert (await office.show("q")).due == 1
    office.now_us += 2 * S_US
    (again,) = await take(office)
    assert (again.id, again.tries) == ("1", 2)


async def test_dead_letters_can_be_tried_again(office: Office) -> None:
    await put(office, letter("1"), letter("2"))
    for taken in await take(office):
        await office.settle("q", "a", taken, Step.DEAD, why="status 410", log={})
    standing = await office.show("q", dead=9)
    assert (standing.waiting, standing.dead) == (0, 2)
    assert [(one["id"], one["why"], one["tries"]) for one in standing.letters] == [
        ("2", "status 410", "1"),
        ("1", "status 410", "1"),
    ]
    assert await office.redrive("q", id_="2") == (1, 1)
    assert await office.redrive("q") == (1, 0)
    assert [(one.id, one.tries, one.body) for one in await take(office)] == [
        ("2", 1, b"body of 2"),
        ("1", 1, b"body of 1"),
    ]


async def test_letters_with_a_key_come_one_after_the_other(office: Office) -> None:
    await put(office, letter("a1", "a"), letter("b1", "b"), letter("a2", "a"), letter("x"), letter("a3", "a"))
    first = await take(office)
    assert ids(first) == ["a1", "b1", "x"]
    await office.settle("q", "a", first[0], Step.RETRY, wait_ms=1_000, log={})
    assert await take(office, "b") == [], "a2 waits for a1, which waits for its time"
    office.now_us += S_US
    (again,) = await take(office, "b")
    assert again.id == "a1"
    await office.settle("q", "b", again, Step.DONE, log={})
    (second,) = await take(office, "b")
    assert second.id == "a2"
    await office.settle("q", "b", second, Step.DEAD, log={})
    assert ids(await take(office, "b")) == ["a3"], "the dead do not hold up the living"


async def test_many_that_wait_for_one_take_no_room(office: Office) -> None:
    await put(office, *(letter(f"a{n}", "a") for n in range(30)), letter("b", "b"))
    assert ids(await take(office, count=10)) == ["a0", "b"]


async def test_no_room_no_letter(office: Office) -> None:
    await put(office, letter("1"), most=1)
    refused = await office.append(letter("2"), ["q", "r"], seen_ms=60_000, most=1)
    assert refused == (-1, 0, ["q"])
    assert (await office.show("r")).waiting == 0, "in all queues or in none"
    partly = await office.append(letter("2"), ["q", "r"], seen_ms=60_000, most=1, every=False)
    assert (partly.result, partly.full) == (1, ["q"])


async def test_what_comes_behind_a_newer_one_is_marked(office: Office) -> None:
    await put(office, *(letter(str(place), "k", place=place) for place in (5, 7, 6, 8)))
    marks = {}
    while taken := await take(office, count=1):
        marks[taken[0].id] = taken[0].marks
        await office.settle("q", "a", taken[0], Step.DONE, log={})
    assert marks == {"5": "", "7": "", "6": "o", "8": ""}


async def test_a_receiver_that_fails_is_left_alone(office: Office) -> None:
    await put(office, *map(letter, "123456789"))
    taken = await take(office, count=PATIENCE)
    rests = [
        (await office.settle("q", "a", one, Step.RETRY, wait_ms=1, blamed=True, log={})).resting_ms for one in taken
    ]
    assert rests[:-1] == [0] * (PATIENCE - 1)
    wait_ms, none = await office.take("q", "a", 5, concurrency=9, lease_ms=LEASE_MS)
    assert (wait_ms, none) == (rests[-1], [])
    office.now_us += rests[-1] * 1000
    (probe,) = await take(office)
    assert await take(office, "b") == [], "one at a time until it answers"
    assert (await office.settle("q", "a", probe, Step.DONE, log={})).failures == PATIENCE
    assert len(await take(office)) == 8


def test_names_in_keys() -> None:
    assert short("c-1") == "c-1"
    assert len({short(text) for text in ("x" * 129, "x" * 130, "\udcff", "\udcfe", "?")}) == 5
    assert all(short(text).encode() for text in ("\ud800", "x" * 1000))


async def test_a_full_server_takes_nothing_and_still_delivers(own_redis_server: RedisServer) -> None:
    async with opened(own_redis_server.url) as store:
        await _fill_up(own_redis_server, store, Office(store, "full", now_us=T0_US))


async def _fill_up(own_redis_server: RedisServer, store: Any, office: Office) -> None:
    await put(office, letter("1"), letter("2"))
    own_redis_server.command("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(StoreDown, match="OOM"):
        await office.append(letter("3"), ["q"], seen_ms=1_000, most=9)
    while not store.up:
        await asyncio.sleep(0.01)
    taken = await take(office)
    assert ids(taken) == ["1", "2"]
    assert (await office.settle("q", "a", taken[0], Step.DONE, log={"n": 1})).settled == 1
    assert (await office.settle("q", "a", taken[1], Step.RETRY, wait_ms=1, log={})).settled == 1
    own_redis_server.command("CONFIG", "SET", "maxmemory", "0")
    assert (await office.append(letter("3"), ["q"], seen_ms=1_000, most=9)).result == 1


async def test_the_rights_that_the_page_names_are_enough(own_redis_server: RedisServer) -> None:
    page = (Path(__file__).parents[2] / "docs" / "store.md").read_text()
    rule = re.search(r"ACL SETUSER gateway on >PASSWORD (.*?)```", page, re.DOTALL)
    more = re.search(r"also `(\+exists.*?)`", page, re.DOTALL)
    assert rule is not None
    assert more is not None
    own_redis_server.command("ACL", "SETUSER", "gw", "reset", "on", ">pw", *rule[1].split(), *more[1].split())
    async with opened(own_redis_server.url.replace("unix://", "unix://gw:pw@")) as store:
        office = Office(store, "acl", now_us=T0_US)
        await put(office, letter("1", "k", place=2), letter("2", "k", place=1), letter("3"))
        first, third = await take(office)
        await office.settle("q", "a", first, Step.DEAD, blamed=True, log={})
        await office.settle("q", "a", third, Step.RETRY, wait_ms=0, blamed=True, log={})
        again = await take(office, "b")
        assert sorted(ids(again)) == ["2", "3"]
        (office_later,) = (await office.take("q", "c", 1, concurrency=9, lease_ms=0))[1:]
        assert office_later
        assert (await office.show("q", tries=9, dead=9)).dead == 1
        assert await office.redrive("q") == (1, 0)
        own_redis_server.command("XGROUP", "DESTROY", f"{store.key_prefix}queue:{{acl}}:to:q", "g")
        assert len(await take(office)) > 0
