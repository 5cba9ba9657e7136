"""Letters while the store fails over: none whose sender was told that it is kept is lost, and couriers go on by themselves."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from itertools import count
from typing import Any
from uuid import uuid4

import pytest
from redis.crc import key_slot

from gateway.core.webhooks.receivers import Receiver as Whom
from gateway.modules.delivery import courier
from gateway.modules.delivery.courier import Courier
from gateway.modules.delivery.post import Post
from gateway.settings import StoreSettings
from gateway.store import StoreDown
from gateway.store.connection import pipeline
from gateway.store.shared.queues import Letter, Office, open_queue_store
from tests.conftest import StartSentinel
from tests.fakes.receiver import Got, Receiver
from tests.fakes.redis_cluster import RedisCluster
from tests.fakes.redis_server import RedisServer
from tests.fakes.waiting import eventually, pause, until
from tests.webhooks.test_courier import Told

KEYS = ("", "a", "b")


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a worker took when the store died, another one takes soon; a store that is back is dialled soon."""
    monkeypatch.setattr(courier, "LEASE_MARGIN_MS", 500)
    monkeypatch.setattr(pipeline, "MIN_DIAL_GAP_S", 0.05)
    monkeypatch.setattr(pipeline, "MAX_DIAL_GAP_S", 0.1)


class Sender:
    """Puts letters into a queue until each is acknowledged; may be told to pause."""

    def __init__(self, office: Office) -> None:
        self.acknowledged: list[str] = []
        self.refused = 0
        self._office = office
        self._numbers = count()
        self._task = asyncio.create_task(self._go_on())

    async def _go_on(self) -> None:
        for number in self._numbers:
            letter = Letter(f"{number:05}", b"{}", key=KEYS[number % len(KEYS)])
            while not await self._put(letter):
                self.refused += 1
                await pause(0.01, "who was refused tries again rather soon")
            self.acknowledged.append(letter.id)
            await pause(0.002, "some hundred letters a second")

    async def _put(self, letter: Letter) -> bool:
        with suppress(StoreDown):
            return (await self._office.append(letter, ["q"], seen_ms=60_000, most=100_000)).result >= 0
        return False

    async def more(self, letters: int) -> None:
        """Until so many more are acknowledged."""
        wanted = len(self.acknowledged) + letters
        await eventually(lambda: len(self.acknowledged) >= wanted)

    async def stop(self) -> None:
        """None is on its way any more; those that were are not acknowledged."""
        self._task.cancel()
        await asyncio.wait((self._task,))

    def resume(self) -> None:
        self._task = asyncio.create_task(self._go_on())


Run = Callable[[str], Any]


@pytest.fixture
def at_work(receiver: Receiver) -> Run:
    """`async with at_work(url) as (office, sender)`: letters are sent and delivered, by two workers. In the end each that
    was acknowledged has been delivered, in order where it has a key."""

    @asynccontextmanager
    async def begin(url: str) -> AsyncIterator[tuple[Office, Sender]]:
        store = open_queue_store(StoreSettings(url=url, timeout_us=1_000_000))
        assert store is not None
        await store.start()
        office, told = Office(store, uuid4().hex), Told()
        whom = Whom("q", receiver.url, anywhere=True, timeout_us=1_000_000, concurrency=8)
        couriers = [Courier(office, "q", name, whom, Post(whom), lambda one: (one.body, {}), told) for name in "ab"]
        for one in couriers:
            one.start()
        sender = Sender(office)
        receiver.answer = lambda got: 500 if len(receiver.got) % 50 == 0 else 200
        try:
            yield office, sender
            await sender.stop()
            await _until_delivered(receiver, sender)
            assert told.crashes == []
        finally:
            for one in couriers:
                await one.close()
            await store.close()

    return begin


async def _until_delivered(receiver: Receiver, sender: Sender) -> None:
    await eventually(lambda: set(sender.acknowledged) <= {got.id for got in receiver.got}, gap_s=0.02)
    for number in range(1, len(KEYS)):
        first = list(dict.fromkeys(got.id for got in receiver.got if int(got.id) % len(KEYS) == number))
        assert first == sorted(first)


async def test_behind_sentinels_a_primary_dies(start_sentinel: StartSentinel, at_work: Run) -> None:
    group = start_sentinel(sentinels=1)
    async with at_work(group.url) as (_, sender):
        await sender.more(100)
        await sender.stop()
        await asyncio.to_thread(until, lambda: in_step(group.primary), "the replica has what is acknowledged")
        lost = group.primary
        lost.kill()
        sender.resume()
        await asyncio.to_thread(group.wait_for_promotion, lost)
        await sender.more(100)
        assert sender.refused > 0


async def test_in_a_cluster_a_primary_dies(broken_cluster: RedisCluster, at_work: Run) -> None:
    async with at_work(broken_cluster.url) as (office, sender):
        await sender.more(100)
        await sender.stop()
        lost = broken_cluster.owner(stream_of(office))
        replicas = broken_cluster.replicas_of(lost)
        await asyncio.to_thread(until, lambda: in_step(lost), "the replica has what is acknowledged")
        lost.kill()
        sender.resume()
        await asyncio.to_thread(broken_cluster.wait_for_promotion, replicas)
        await sender.more(100)


async def test_in_a_cluster_the_slot_moves(broken_cluster: RedisCluster, at_work: Run) -> None:
    """With letters that are being tried, due, and behind others."""
    async with at_work(broken_cluster.url) as (office, sender):
        stream = stream_of(office)
        for _ in range(2):
            await sender.more(30)
            source = broken_cluster.owner(stream)
            target = next(node for node in broken_cluster.primaries if node is not source)
            slot = key_slot(stream.encode())
            await asyncio.to_thread(broken_cluster.begin_move, slot, target)
            await pause(0.05, "letters meet the slot halfway")
            await asyncio.to_thread(broken_cluster.move_keys, slot, source, target, [stream])
            await pause(0.05, "letters meet the slot halfway")
            while source.command("CLUSTER", "COUNTKEYSINSLOT", slot):
                await asyncio.to_thread(broken_cluster.move_keys, slot, source, target)
            await asyncio.to_thread(broken_cluster.end_move, slot, target)
        await sender.more(30)


async def test_a_store_that_was_emptied(own_redis_server: RedisServer, receiver: Receiver, at_work: Run) -> None:
    """What was in it is lost; what comes then is delivered."""
    async with at_work(own_redis_server.url) as (_, sender):
        held = asyncio.Event()

        def hold(_got: Got) -> int | None:
            held.set()
            return None

        receiver.answer = hold
        await sender.more(10)
        await held.wait()
        await sender.stop()
        own_redis_server.command("FLUSHALL")
        sender.acknowledged.clear()
        receiver.answer = lambda _got: 200
        sender.resume()
        await sender.more(50)


def stream_of(office: Office) -> str:
    return f"gw:queue:{{{office.name}}}:to:q"


def in_step(primary: RedisServer) -> bool:
    """Whether all that was acknowledged until now is on the replica: couriers go on writing meanwhile."""
    before = primary.command("INFO", "replication")
    return bool(primary.command("INFO", "replication")["slave0"]["offset"] >= before["master_repl_offset"])
