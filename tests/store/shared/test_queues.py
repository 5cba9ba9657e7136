"""Durable queues on a real server: each letter comes out at least once, to one worker at a time, in order where asked."""

import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from gateway.core.webhooks.redelivery import Step
from gateway.modules.hooks import Queue
from gateway.settings import StoreSettings
from gateway.store import StoreDown
from gateway.store.shared.queues import (
    FIRST_REST_MS,
    PATIENCE,
    Again,
    Letter,
    Office,
    Taken,
    Which,
    open_queue_store,
    short,
)
from tests.fakes.redis_cluster import RedisCluster
from tests.fakes.redis_server import RedisServer
from tests.fakes.waiting import eventually

S_US = 1_000_000
T0_US = 1_700_000_000 * S_US
LEASE_MS = 20_000
OnServer = Callable[..., Any]


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Any]:
    """A link that waits longer than a busy machine takes."""
    store = open_queue_store(StoreSettings(url=url, timeout_us=20 * S_US))
    assert store is not None
    await store.start()
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture(params=["redis_server", "redis_cluster"])
def place(request: pytest.FixtureRequest) -> RedisServer | RedisCluster:
    found: RedisServer | RedisCluster = request.getfixturevalue(request.param)
    return found


@pytest.fixture
async def office(place: RedisServer | RedisCluster) -> AsyncIterator[Office]:
    """A new one, with a clock of its own."""
    async with opened(place.url) as store:
        yield Office(store, uuid4().hex, now_us=T0_US)


def stream_of(office: Office) -> str:
    return f"gw:queue:{{{office.name}}}:to:q"


@pytest.fixture
def on_server(place: RedisServer | RedisCluster, office: Office) -> OnServer:
    """Runs a command where the office's queues are."""
    server = place.owner(stream_of(office)) if isinstance(place, RedisCluster) else place
    return server.command


async def put(office: Office, *letters: Letter, most: int = 100, seen_ms: int = 60_000) -> None:
    for letter in letters:
        assert (await office.append(letter, ["q"], seen_ms=seen_ms, most=most)).result == 1


async def take(office: Office, worker: str = "a", count: int = 10, concurrency: int = 10) -> list[Taken]:
    _, letters = await office.take("q", worker, count, concurrency=concurrency, lease_ms=LEASE_MS)
    return letters


def letter(id_: str, key: str = "", **more: object) -> Letter:
    return Letter(id_, b"body of " + id_.encode(), key=key, **more)  # type: ignore[arg-type]


async def again(office: Office, which: Which, most: int = 100, **those: str) -> Again:
    return await office.again("q", which, most=most, **those)


async def deliver(office: Office, *taken: Taken, keep: int = 100, keep_ms: int = 60_000) -> None:
    for one in taken:
        assert (await office.settle("q", "a", one, Step.DONE, keep=keep, keep_ms=keep_ms, log={})).settled == 1


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


async def test_who_has_no_room_is_not_told_to_look_at_once(office: Office) -> None:
    """What is due waits for those that are being tried: nobody knows how long."""
    await put(office, *map(letter, "123"))
    (first,) = await take(office, "a", concurrency=1)
    await office.settle("q", "a", first, Step.RETRY, wait_ms=2_000, log={})
    assert len(await take(office, "a", concurrency=1)) == 1
    office.now_us += 3 * S_US
    assert await office.take("q", "b", 10, concurrency=1, lease_ms=LEASE_MS) == (-1, [])
    assert (await office.take("q", "b", 10, concurrency=2, lease_ms=LEASE_MS))[0] == -1, "it has just used the room up"


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


async def test_a_receiver_that_is_said_to_be_well_is_tried_at_once(office: Office) -> None:
    names = [str(number) for number in range(6)]
    await put(office, *(letter(name) for name in names))
    for taken in await take(office):
        await office.settle("q", "a", taken, Step.RETRY, wait_ms=3_600_000, blamed=True, log={})
    assert (await office.show("q")).resting_ms > 0
    assert (await again(office, Which.DEAD, id_="1")).moved == 0
    assert (await again(office, Which.DELIVERED)).moved == 0
    assert await take(office) == [], "neither says that the receiver is well"
    assert (await again(office, Which.DEAD)).moved == 0
    assert [(one.id, one.tries) for one in await take(office)] == [(name, 2) for name in names]


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
    assert (await again(office, Which.DEAD, id_="2"))[:2] == (1, 1)
    assert (await again(office, Which.DEAD))[:2] == (1, 0)
    assert [(one.id, one.tries, one.body) for one in await take(office)] == [
        ("2", 1, b"body of 2"),
        ("1", 1, b"body of 1"),
    ]


async def test_delivered_letters_are_kept_where_asked_and_can_be_replayed(office: Office) -> None:
    await put(office, letter("1", marks="l"), letter("2"), letter("3"))
    await deliver(office, *await take(office))
    assert ((await office.show("q")).waiting, (await office.show("q")).kept) == (0, 3)
    assert (await again(office, Which.DELIVERED, id_="2"))[:2] == (1, 2)
    assert (await again(office, Which.DELIVERED, after="9999999999999-0")).moved == 0
    assert (await again(office, Which.DELIVERED, to="1")).moved == 0
    assert (await again(office, Which.DELIVERED, after="1-0"))[:2] == (2, 0)
    replayed = await take(office)
    assert [(one.id, one.tries, one.marks, one.body) for one in replayed] == [
        ("2", 1, "r", b"body of 2"),
        ("1", 1, "lr", b"body of 1"),
        ("3", 1, "r", b"body of 3"),
    ]
    await deliver(office, *replayed)
    assert (await again(office, Which.DELIVERED)).moved == 3, "as often as one likes"
    await deliver(office, *await take(office), keep=0)
    assert (await office.show("q")).kept == 0


async def test_no_more_are_kept_than_asked_and_no_longer(office: Office, on_server: OnServer) -> None:
    kept = f"{stream_of(office)}:kept"
    on_server("XADD", kept, "1-1", "id", "old")
    await put(office, *map(letter, "123"))
    first, *others = await take(office)
    await deliver(office, first)
    assert (await office.show("q")).kept == 1, "the other one was delivered in 1970"
    await deliver(office, *others, keep=2)
    assert [one[1]["id"] for one in on_server("XRANGE", kept, "-", "+")] == ["2", "3"]
    assert 0 < on_server("PTTL", kept) <= 60_000


async def test_many_are_tried_again_in_steps_as_far_as_there_is_room(office: Office) -> None:
    await put(office, *(letter(str(number)) for number in range(600)), most=1_000)
    for taken in await take(office, count=600, concurrency=600):
        await office.settle("q", "a", taken, Step.DEAD, log={})
    some = await again(office, Which.DEAD, most=510)
    assert (some.moved, some.left, some.full) == (500, 100, False)
    full = await again(office, Which.DEAD, most=510, after=some.after, to=some.to)
    assert full == (10, 90, True, "", some.to)
    rest = await again(office, Which.DEAD, most=1_000)
    assert (rest.moved, rest.left, rest.full, rest.after) == (90, 0, False, "")


async def test_all_that_waits_for_another_try_is_brought_forward_in_steps(office: Office, on_server: OnServer) -> None:
    due, later_ms = f"{stream_of(office)}:due", T0_US // 1_000 + 60_000
    on_server("ZADD", due, *(part for number in range(2_500) for part in (later_ms + number, f"{number}-0")))
    await put(office, letter("a"), letter("b"))
    for taken in await take(office):
        await office.settle("q", "a", taken, Step.DEAD, log={})
    steps: list[str] = []
    courier: Any = SimpleNamespace(queue="q", receiver=None, wake=lambda: steps.append("woken"))
    found = await Queue(office, courier, direction="out", most=1).again(Which.DEAD)
    assert (found.moved, found.left, found.full, len(steps)) == (1, 1, True, 3)
    assert (on_server("ZCOUNT", due, later_ms, "+inf"), on_server("ZCARD", due)) == (0, 2_500)


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


async def deliver_all(office: Office) -> list[str]:
    """Takes and delivers until nothing waits, whatever the time."""
    delivered = []
    while (await office.show("q")).waiting:
        office.now_us += 60 * S_US
        taken = await take(office)
        await deliver(office, *taken, keep=0)
        delivered += ids(taken)
    return delivered


@pytest.mark.parametrize(
    "lost", [("group",), ("due",), ("first",), ("first", "lane:k"), ("lane:k",), ("tries", "rest")]
)
async def test_a_queue_of_which_a_part_was_lost_heals(office: Office, on_server: OnServer, lost: Sequence[str]) -> None:
    """By a full server that evicts, by somebody who removed it."""
    await put(office, letter("k1", "k"), letter("x"), letter("k2", "k"), letter("k3", "k"), letter("k4", "k"))
    first, other = await take(office)
    await office.settle("q", "a", first, Step.RETRY, wait_ms=1_000, log={})
    await office.settle("q", "a", other, Step.RETRY, wait_ms=1_000, log={})
    for part in lost:
        if part == "group":
            on_server("XGROUP", "DESTROY", stream_of(office), "g")
        else:
            on_server("DEL", f"{stream_of(office)}:{part}")
    delivered = await deliver_all(office)
    assert sorted(set(delivered)) == ["k1", "k2", "k3", "k4", "x"]
    assert len(delivered) == 5
    await put(office, letter("k5", "k"))
    assert await deliver_all(office) == ["k5"]
    assert on_server("KEYS", f"{stream_of(office)}:lane*") == []


async def test_letters_that_somebody_has_removed_hold_up_nobody(office: Office, on_server: OnServer) -> None:
    await put(office, *(letter(f"k{n}", "k") for n in range(5)))
    (first,) = await take(office)
    on_server("XDEL", stream_of(office), on_server("LINDEX", f"{stream_of(office)}:lane:k", 0))
    await office.settle("q", "a", first, Step.RETRY, wait_ms=1_000, log={})
    on_server("XDEL", stream_of(office), first.entry)
    assert await deliver_all(office) == ["k2", "k3", "k4"]


async def test_what_is_no_queue_takes_no_letter(office: Office, on_server: OnServer) -> None:
    on_server("SET", stream_of(office), "something else")
    refused = await office.append(letter("1"), ["q", "r"], seen_ms=60_000, most=9)
    assert refused == (-1, 0, [], ("q",)), "all or none: whoever sent it sends it again"
    taken = await office.append(letter("1"), ["q", "r"], seen_ms=60_000, most=9, every=False)
    assert taken == (1, 1, [], ("q",))
    assert (await office.show("r")).waiting == 1


async def test_no_room_no_letter(office: Office) -> None:
    await put(office, letter("1"), most=1)
    refused = await office.append(letter("2"), ["q", "r"], seen_ms=60_000, most=1)
    assert refused == (-1, 0, ["q"], ())
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


async def test_places_may_be_longer_than_what_floats_hold(office: Office) -> None:
    first = 10**18
    await put(office, *(letter(str(place), "k", place=place) for place in (first, first + 2, first + 1, 10 * first, 9)))
    marks = []
    while taken := await take(office, count=1):
        marks.append(taken[0].marks)
        await office.settle("q", "a", taken[0], Step.DONE, log={})
    assert marks == ["", "", "o", "", "o"]


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


async def test_tries_that_began_before_a_rest_do_not_lengthen_it(office: Office) -> None:
    await put(office, *map(letter, "1234567890"))

    async def fail(one: Taken) -> tuple[int, int]:
        settled = await office.settle("q", "a", one, Step.RETRY, wait_ms=1, blamed=True, log={})
        return settled.failures, settled.resting_ms

    at_once = [await fail(one) for one in await take(office, count=9)]
    assert at_once[PATIENCE - 1 :] == [(PATIENCE, FIRST_REST_MS), *[(PATIENCE, 0)] * 4]
    for times in (2, 4):
        office.now_us += times * FIRST_REST_MS * 1000
        (probe,) = await take(office)
        assert (await fail(probe))[1] == times * FIRST_REST_MS


async def test_a_clock_that_is_set_back_holds_up_nobody_for_longer(office: Office) -> None:
    await put(office, *map(letter, "123456"))
    for one in await take(office, count=PATIENCE):
        await office.settle("q", "a", one, Step.RETRY, wait_ms=1_000, blamed=True, log={})
    assert await take(office) == []
    office.now_us -= 3600 * S_US
    assert len(await take(office)) == 1


async def test_a_clock_that_is_set_back_puts_off_no_next_try(office: Office) -> None:
    """By an hour: what was to be tried again in a second, and what is kept in order behind it, came an hour later."""
    await put(office, letter("1", key="k"), letter("2", key="k"), letter("3"))
    for one in await take(office):
        await office.settle("q", "a", one, Step.RETRY, wait_ms=1_000, log={})
    assert await take(office) == []
    office.now_us -= 3600 * S_US
    await put(office, letter("4"))
    (first, *others) = sorted(await take(office), key=lambda one: one.id)
    assert ids([first, *others]) == ["1", "3", "4"]
    await deliver(office, first)
    assert ids(await take(office)) == ["2"]
    await office.settle("q", "a", others[1], Step.RETRY, wait_ms=1_000, log={})
    assert await take(office) == [], "what has come since waits as ever"


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
    await eventually(lambda: store.up)
    taken = await take(office)
    assert ids(taken) == ["1", "2"]
    assert (await office.settle("q", "a", taken[0], Step.DONE, log={"n": 1})).settled == 1
    assert (await office.settle("q", "a", taken[1], Step.RETRY, wait_ms=1, log={})).settled == 1
    own_redis_server.command("CONFIG", "SET", "maxmemory", "0")
    assert (await office.append(letter("3"), ["q"], seen_ms=1_000, most=9)).result == 1


async def test_the_rights_that_the_page_names_are_enough(own_redis_server: RedisServer) -> None:
    page = (Path(__file__).parents[3] / "docs" / "store.md").read_text()
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
        again_taken = await take(office, "b")
        assert sorted(ids(again_taken)) == ["2", "3"]
        (office_later,) = (await office.take("q", "c", 1, concurrency=9, lease_ms=0))[1:]
        assert office_later
        assert (await office.show("q", tries=9, dead=9)).dead == 1
        assert (await again(office, Which.DEAD))[:2] == (1, 0)
        (second,) = [one for one in again_taken if one.id == "2"]
        await office.settle("q", "b", second, Step.DONE, keep=9, keep_ms=60_000, log={})
        assert (await again(office, Which.DELIVERED)).moved == 1
        own_redis_server.command("XGROUP", "DESTROY", f"{store.key_prefix}queue:{{acl}}:to:q", "g")
        assert len(await take(office)) > 0
