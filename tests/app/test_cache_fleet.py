"""Two gateways and what they keep together."""

import asyncio
from typing import Any

import pytest

from gateway.caching.fleet import LEASE_MS
from gateway.modules.cache.flights import Outcome
from gateway.store import StoreDown
from gateway.store.shared.answers import SharedAnswers
from tests.app.caching import Cached, answer, begin
from tests.app.conftest import Start
from tests.fakes.upstream import Held, Received, Socket, Upstream, always
from tests.fakes.waiting import eventually

Pair = tuple[Cached, Cached]


@pytest.fixture
async def pair(start: Start, upstream: Upstream) -> Pair:
    one, other = [await begin(start, upstream, store="shared") for _ in range(2)]
    for each in (one, other):
        await connected(each)
    return one, other


def fleet(cached: Cached) -> SharedAnswers:
    """The gateway's link to what all keep."""
    found = cached.running.gateway.caches._fleet
    assert isinstance(found, SharedAnswers)
    return found


async def connected(cached: Cached) -> None:
    """Until the gateway reaches the store."""
    await eventually(lambda: fleet(cached).up)


async def told(cached: Cached) -> None:
    """Until the store has heard what the gateway keeps."""
    while fleet(cached)._telling:
        await asyncio.wait([*fleet(cached)._telling])


async def test_what_one_has_fetched_the_other_serves(pair: Pair) -> None:
    one, other = pair
    one.answers(answer(b"x", "Cache-Control: max-age=60", "X-A: b"))
    await one.get("/things")
    await told(one)
    got = await other.get("/things")
    assert (got.status, got.body, got.fields("X-A")) == (200, b"x", ["b"])
    assert got.fields("Cache-Status")[0].startswith("gw-test; hit; ttl=")
    assert (await other.get("/things", tenant="b")).fields("Cache-Status") == ["gw-test; fwd=uri-miss; stored"]
    assert len(one.upstream.received) == 2


async def test_what_answers_depend_on_is_known_to_all(pair: Pair) -> None:
    one, other = pair

    async def by_color(got: Received, _socket: Socket) -> bytes:
        return answer("".join(got.fields("Color")).encode(), "Cache-Control: max-age=60", "Vary: Color")

    one.upstream.script = by_color
    for color in ("red", "blue"):
        await one.get("/things", ("Color", color))
    await told(one)
    assert [(await other.get("/things", ("Color", color))).body for color in ("blue", "red", "green")] == [
        b"blue",
        b"red",
        b"green",
    ]
    assert len(one.upstream.received) == 3


async def test_of_all_gateways_one_asks(pair: Pair) -> None:
    one, other = pair
    held = one.upstream.script = Held(answer(b"x", "Cache-Control: max-age=60"))
    calls = [asyncio.create_task(one.get("/things"))]
    await held.asked.wait()
    calls += [asyncio.create_task(each.get("/things")) for each in (one, other, other)]
    await eventually(lambda: other.running.gateway.in_flight >= 2)
    held.go_on.set()
    assert [(await call).body for call in calls] == [b"x"] * 4
    assert len(one.upstream.received) == 1


async def test_if_its_caller_leaves_another_gateway_asks(pair: Pair) -> None:
    one, other = pair
    asked = asyncio.Event()

    async def never(_got: Received, _socket: Socket) -> bytes:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    one.upstream.script = never
    leaving = asyncio.create_task(one.get("/things"))
    await asked.wait()
    waiting = asyncio.create_task(other.get("/things"))
    await eventually(lambda: other.running.gateway.in_flight >= 1)
    one.answers(answer(b"x"))
    leaving.cancel()
    assert (await waiting).body == b"x"
    assert len(one.upstream.received) == 2


async def test_a_slow_answer_is_waited_for_longer_than_a_lease_lasts(pair: Pair) -> None:
    """Who fetches it says again and again that it is there."""
    one, other = pair
    held = one.upstream.script = Held(answer(b"x", "Cache-Control: max-age=60"))
    leading = asyncio.create_task(one.get("/things"))
    await held.asked.wait()
    waiting = asyncio.create_task(other.get("/things"))
    loop = asyncio.get_running_loop()
    began_s, renew, renewed = loop.time(), fleet(one).renew, asyncio.Event()

    def counted(*arguments: Any) -> None:
        renew(*arguments)
        if loop.time() - began_s > LEASE_MS / 1000:
            renewed.set()

    fleet(one).renew = counted  # type: ignore[method-assign]
    await renewed.wait()
    held.go_on.set()
    assert (await leading).body == (await waiting).body == b"x"
    assert len(one.upstream.received) == 1


async def test_who_is_too_slow_for_others_is_no_reason_not_to_wait_for_the_next(
    start: Start, upstream: Upstream
) -> None:
    one, other = [await begin(start, upstream, store="shared", more="wait: 50ms") for _ in range(2)]
    for each in (one, other):
        await connected(each)
    held = upstream.script = Held(answer(b"x", "Cache-Control: private"))
    calls = [asyncio.create_task(one.get("/things"))]
    await held.asked.wait()
    calls.append(asyncio.create_task(other.get("/things")))
    await upstream.until(lambda: len(upstream.received) == 2)
    (kept,) = filter(None, map(other.running.gateway.caches.of, other.running.gateway.policies.routes))
    assert not any(known[0] is Outcome.ITS_OWN for known in kept.flights._until.values())
    held.go_on.set()
    await asyncio.gather(*calls)


async def test_answers_that_are_each_callers_own_are_waited_for_by_nobody(pair: Pair) -> None:
    one, other = pair
    one.answers(answer(b"x", "Cache-Control: private"))
    await one.get("/things")
    await told(one)
    got = await other.get("/things")
    assert (got.body, got.fields("Cache-Status")) == (b"x", ["gw-test; fwd=uri-miss"])


async def test_a_change_through_one_is_seen_by_the_other_a_second_later(pair: Pair) -> None:
    one, other = pair
    one.answers(answer(b"old", "Cache-Control: max-age=60"))
    await one.get("/things")
    await told(one)
    await other.get("/things")
    one.answers(answer(b"new", "Cache-Control: max-age=60"))
    await one.get("/things", method="POST")
    await told(one)
    other.later(1)
    assert (await other.get("/things")).body == b"new"
    assert (await one.get("/things")).body == b"new"


async def test_a_copy_that_is_still_right_is_not_sent_again(pair: Pair) -> None:
    one, other = pair
    one.answers(answer(b"x" * 5000, "Cache-Control: max-age=60"))
    await one.get("/things")
    await told(one)
    await other.get("/things")
    other.later(2)
    got = await other.get("/things")
    assert got.fields("Cache-Status")[0].startswith("gw-test; hit")
    assert got.fields("Age") == ["2"]
    assert len(one.upstream.received) == 1


async def test_a_stale_answer_is_validated_by_one_for_all(pair: Pair) -> None:
    one, other = pair
    one.answers(answer(b"x", 'ETag: "1"', "Cache-Control: max-age=5, stale-while-revalidate=60"))
    await one.get("/things")
    await told(one)
    await other.get("/things")
    one.answers(b'HTTP/1.1 304 Not Modified\r\nETag: "1"\r\n\r\n')
    for each in (one, other):
        each.later(10)
    got = await one.get("/things")
    assert got.fields("Cache-Status")[0].startswith("gw-test; hit; detail=stale-while-revalidate")
    await one.upstream.until(lambda: len(one.upstream.received) == 2)
    await one.running.records.wait(3)
    await told(one)
    assert sorted(record.cache for record in one.running.records.all) == ["miss", "refresh", "stale"]
    got = await other.get("/things")
    assert got.body == b"x"
    assert len(one.upstream.received) == 2


async def test_without_the_store_each_keeps_its_own(pair: Pair) -> None:
    one, other = pair
    one.answers(answer(b"x", "Cache-Control: max-age=60"))
    for each in (one, other):
        await fleet(each)._store.close()
        for _ in range(2):
            assert (await each.get("/things")).body == b"x"
    assert len(one.upstream.received) == 2


async def test_a_store_that_fails_in_the_middle_costs_no_answer(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    one, _ = pair
    one.answers(answer(b"x", "Cache-Control: max-age=60"))

    async def lost(*_: object, **__: object) -> None:
        raise StoreDown("timeout")

    monkeypatch.setattr(fleet(one)._store, "run", lost)
    for _ in range(2):
        assert (await one.get("/things")).body == b"x"
        one.later(2)
    assert len(one.upstream.received) == 2


async def test_what_is_kept_here_and_for_all(pair: Pair) -> None:
    one, other = pair
    one.answers(answer(b"x", "Cache-Control: max-age=60"))
    for path in ("/things", "/things", "/users/1"):
        await one.get(path)
    await told(one)
    await other.get("/things")
    sizes = (await one.running.gateway.caches.sizes())["all"]
    count, size_bytes = sizes["kept"]
    assert (count, sizes["answers"], sizes["shared"][0]) == (2, {"miss": 2, "hit": 1}, 2)
    assert 2 * 512 < size_bytes < 3000
    assert sizes["shared"][1] < size_bytes
    theirs = (await other.running.gateway.caches.sizes())["all"]
    assert (theirs["kept"][0], theirs["answers"], theirs["shared"]) == (1, {"hit": 1}, sizes["shared"])
    await fleet(one)._store.close()
    assert (await one.running.gateway.caches.sizes())["all"] == {**sizes, "shared": None}


async def test_gateways_with_other_rules_or_another_upstream_share_nothing(start: Start, upstream: Upstream) -> None:
    async with Upstream() as elsewhere:
        upstream.script, elsewhere.script = always(answer(b"here")), always(answer(b"elsewhere"))
        alike = [await begin(start, upstream, store="shared") for _ in range(2)]
        other_rules = await begin(start, upstream, store="shared", ttl="6m")
        other_upstream = await begin(start, elsewhere, store="shared")
        for each in (*alike, other_rules, other_upstream):
            await connected(each)
            await each.get("/things")
            await told(each)
        assert len(upstream.received) == 2
        assert (await other_upstream.get("/things")).body == b"elsewhere"


async def test_a_reload_that_changes_the_rules_forgets_in_the_store_too(pair: Pair, start: Start) -> None:
    one, other = pair
    one.answers(answer(b"old"))
    await one.get("/things")
    await told(one)
    changed = (await begin(start, one.upstream, store="shared", ttl="6m")).running.gateway.policies
    caches = one.running.gateway.caches
    (room,) = (kept.room for kept in caches._kept.values())
    assert await fleet(one).size(room) != (0, 0)
    caches.use(changed)
    await eventually(lambda: not caches._working)
    assert await fleet(other).size(room) == (0, 0)


async def test_a_purge_forgets_here_and_for_all(pair: Pair) -> None:
    one, other = pair
    one.answers(answer(b"old", "Cache-Control: max-age=60"))
    for path in ("/things", "/users/1"):
        await one.get(path)
    await one.get("/things", tenant="b")
    await told(one)
    await other.get("/things")
    one.answers(answer(b"new", "Cache-Control: max-age=60"))
    purged = one.running.gateway.caches.purged
    assert await purged({"route": "all", "tenant": "acme", "prefix": "/th"}) == {"workers": 1, "store": 1}
    other.later(1)
    for each in pair:
        assert [(await each.get(path)).body for path in ("/things", "/users/1")] == [b"new", b"old"]
        assert (await each.get("/things", tenant="b")).body == b"old"
    await told(one)
    assert (await purged({}))["store"] == 3
    assert await purged({"route": "write"}) == {"workers": 0, "store": 0}
