"""Couriers between real queues and real receivers."""

import asyncio
from collections.abc import AsyncIterator, Callable
from ipaddress import ip_network
from typing import Any

import pytest

from gateway.core.webhooks.receivers import Receiver as Whom
from gateway.core.webhooks.redelivery import Step, Tried
from gateway.modules.delivery.courier import Courier
from gateway.modules.delivery.post import Post
from gateway.store.shared.queues import Letter, Office, Settled, Taken
from tests.fakes.receiver import Receiver
from tests.fakes.redis_server import RedisServer
from tests.fakes.waiting import eventually, turns

LOOPBACK = (ip_network("127.0.0.0/8"),)
Make = Callable[..., Courier]


class Told:
    """What couriers told."""

    def __init__(self) -> None:
        self.all: list[tuple[str, Step]] = []
        self.crashes: list[BaseException] = []

    def tried(self, queue: str, taken: Taken, tried: Tried, step: Step, wait_us: int, settled: Settled | None) -> None:
        self.all.append((taken.id, step))

    def crashed(self, queue: str, error: BaseException) -> None:
        self.crashes.append(error)


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
async def courier(office: Office, receiver: Receiver, told: Told) -> AsyncIterator[Make]:
    """Makes and starts one."""
    made: list[Courier] = []

    def make(worker: str = "a", **more: object) -> Courier:
        whom = Whom("q", receiver.url, allowed=LOOPBACK, **{"timeout_us": 20_000_000, **more})  # type: ignore[arg-type]
        one = Courier(office, "q", worker, whom, Post(whom), lambda taken: (taken.body, {}), told)
        made.append(one)
        one.start()
        return one

    yield make
    for one in made:
        await one.close()


async def put(office: Office, *ids: str, key: str = "") -> None:
    for id_ in ids:
        await office.append(Letter(id_, id_.encode(), key=key), ["q"], seen_ms=60_000, most=10_000)


async def until_settled(office: Office, **levels: int) -> None:
    """Until the queue stands like that; the couriers are at work meanwhile."""
    while True:
        standing = await office.show("q")
        if all(getattr(standing, name) == count for name, count in levels.items()):
            return


async def test_letters_are_delivered(office: Office, receiver: Receiver, courier: Make, told: Told) -> None:
    courier()
    await put(office, "1", "2")
    await receiver.wait(2)
    await until_settled(office, waiting=0)
    assert sorted(told.all) == [("1", Step.DONE), ("2", Step.DONE)]


@pytest.mark.parametrize("grace_s", [0.0, 20.0])
async def test_what_is_handed_out_while_it_ends_is_tried_yet(
    office: Office, receiver: Receiver, courier: Make, told: Told, grace_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody else would take it for some 20 s. Without a grace it has to wait for that."""
    asked, take = asyncio.Event(), office.take

    async def slow(*words: Any, **more: Any) -> Any:
        found = await take(*words, **more)
        asked.set()
        await turns()
        return found

    monkeypatch.setattr(office, "take", slow)
    await put(office, "1", "2", "3")
    one = courier()
    await asked.wait()
    await one.close(grace_s)
    standing = await office.show("q")
    assert (len(told.all), standing.waiting) == ((3, 0) if grace_s else (0, 3))


async def test_it_tries_again_after_1_2_4_seconds(office: Office, receiver: Receiver, courier: Make) -> None:
    receiver.answer = lambda _got: 500 if len(receiver.got) < 4 else 200
    await put(office, "1")
    one = courier()
    for tries, wait_s in ((1, 1), (2, 2), (3, 4)):
        await receiver.wait(tries)
        await until_settled(office, due=1)
        office.now_us += wait_s * 1_000_000 - 1_000
        assert (await office.take("q", "z", 1, concurrency=9, lease_ms=60_000))[1] == []
        office.now_us += 1_000
        one.wake()
    await receiver.wait(4)
    await until_settled(office, waiting=0, dead=0)


async def test_in_the_end_it_gives_up(office: Office, receiver: Receiver, courier: Make, told: Told) -> None:
    receiver.answer = lambda _got: 500
    await put(office, "1")
    courier(give_up_us=500_000)
    await until_settled(office, waiting=0, dead=1)
    assert told.all == [("1", Step.DEAD)]


async def test_no_more_at_once_than_allowed(office: Office, receiver: Receiver, courier: Make) -> None:
    await put(office, *map(str, range(40)))
    for worker in "abc":
        courier(worker, concurrency=2)
    await receiver.wait(40)
    await until_settled(office, waiting=0)
    assert receiver.most_at_once <= 2
    assert sorted(got.id for got in receiver.got) == sorted(map(str, range(40))), "each was tried by one of them"


async def test_in_order_where_asked_whoever_delivers(office: Office, receiver: Receiver, courier: Make) -> None:
    await put(office, *(f"{n:02}" for n in range(20)), key="k")
    for worker in "ab":
        courier(worker)
    await receiver.wait(20)
    assert [got.id for got in receiver.got] == [f"{n:02}" for n in range(20)]


async def test_what_is_being_tried_when_it_ends_is_not_lost(office: Office, receiver: Receiver, courier: Make) -> None:
    receiver.answer = lambda _got: None
    await put(office, "1")
    one = courier("a")
    await receiver.wait(1)
    await one.close()
    standing = await office.show("q")
    assert (standing.waiting, standing.trying) == (1, 1)
    _, again = await office.take("q", "z", 1, concurrency=9, lease_ms=0)
    assert [(one.id, one.tries) for one in again] == [("1", 2)]


async def test_what_is_strange_in_the_store_does_not_end_it(
    office: Office,
    receiver: Receiver,
    courier: Make,
    told: Told,
    redis_server: RedisServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Somebody has written there who should not have."""
    await put(office, "1")
    (key,) = redis_server.command("KEYS", f"*{office.name}*to:q")
    strange = {"id": "x", "at": "inf", "key": "", "n": "?", "marks": "z", "fields": "{", "body": "not ours"}
    redis_server.command("XADD", key, "*", *(word for pair in strange.items() for word in pair))
    redis_server.command("XADD", key, "*", "a", "b")
    await put(office, "2")
    one = courier()
    await receiver.wait(4)
    await until_settled(office, waiting=0)
    assert {got.id for got in receiver.got} == {"1", "x", "", "2"}
    assert told.crashes == []
    redis_server.command("SET", key, "something else")
    await eventually(lambda: told.crashes)
    asked, ask = 0, office.take

    async def counted(*given: Any, **named: Any) -> Any:
        nonlocal asked
        asked += 1
        return await ask(*given, **named)

    monkeypatch.setattr(office, "take", counted)

    def often() -> bool:
        one.wake()
        return asked > 3

    await eventually(often)
    assert len(told.crashes) == 1, "the same is told once"
    redis_server.command("DEL", key)
    await put(office, "3")
    await receiver.wait(5)


async def test_what_cannot_be_composed_is_given_up(office: Office, receiver: Receiver, told: Told) -> None:
    def compose(_taken: Taken) -> tuple[bytes, dict[str, str]]:
        raise ValueError

    whom = Whom("q", receiver.url, allowed=LOOPBACK)
    await put(office, "1")
    one = Courier(office, "q", "a", whom, Post(whom), compose, told)
    one.start()
    await until_settled(office, waiting=0, dead=1)
    await one.close()
    assert told.all == [("1", Step.DEAD)]
