"""Workers make themselves known in a real server, and learn how many they are."""

import pytest

from gateway.core.shares import Fleet
from gateway.store import StoreDown
from gateway.store.connection.link import pack
from gateway.store.outage import heartbeat
from gateway.store.outage.heartbeat import HEARTBEAT, HEARTBEAT_ARGV, HEARTBEAT_REPLY, Heartbeat
from gateway.store.redis import RedisStore
from tests.contract.test_script_headers import arguments, header, named
from tests.fakes.waiting import eventually, turns

ALONE = Fleet(1, 0)


def test_header_of_the_script() -> None:
    assert arguments(header("heartbeat")) == HEARTBEAT_ARGV
    assert named("reply", header("heartbeat")) == HEARTBEAT_REPLY == heartbeat.Beat._fields


class Clocked:
    """A store whose scripts read this clock."""

    def __init__(self, store: RedisStore) -> None:
        self.store, self.now_us, self.up = store, 1_800_000_000_000_000, True
        self.key_prefix = store.key_prefix

    def run(self, script, arguments, decode=None, context=None):
        numbered = list(arguments)
        numbered[5] = self.now_us
        return self.store.run(script, numbered, decode, context)


@pytest.fixture
async def clocked(open_store, own_redis_server, monkeypatch) -> Clocked:
    """Its clock and the workers' go alike."""
    store = Clocked(await open_store(own_redis_server.url))
    monkeypatch.setattr(heartbeat, "steady_us", lambda: store.now_us - 12_345)
    return store


async def test_ranks_by_arrival_and_no_more_when_silent(clocked) -> None:
    workers = [Heartbeat(clocked, ALONE, lambda _: None) for _ in range(3)]
    for rank, worker in enumerate(workers):
        beat = await worker.beat()
        assert (beat.workers, beat.rank) == (rank + 1, rank)
        clocked.now_us += 1000
    assert (await workers[0].beat()).workers == 3
    clocked.now_us += 4_000_000
    assert [(await worker.beat()).rank for worker in workers[1:]] == [1, 2]
    clocked.now_us += 2_000_000  # six seconds without the first
    assert [(await worker.beat())[1:3] for worker in workers[1:]] == [(2, 0), (2, 1)]


async def test_who_has_died_when_the_clock_was_set_back_does_not_count_for_longer(clocked) -> None:
    dead, other = Heartbeat(clocked, ALONE, lambda _: None), Heartbeat(clocked, ALONE, lambda _: None)
    await dead.beat()
    clocked.now_us -= 3_600_000_000
    assert (await other.beat()).workers == 2
    clocked.now_us += 6_000_000
    assert (await other.beat()).workers == 1


async def test_who_leaves_is_not_waited_for(open_store, own_redis_server) -> None:
    store = await open_store(own_redis_server.url)
    fleets: list[Fleet] = []
    staying, leaving = Heartbeat(store, ALONE, fleets.append), Heartbeat(store, ALONE, lambda _: None)
    leaving.start()
    await eventually(lambda: leaving.known)
    assert (await staying.beat()).workers == 2
    await leaving.close()
    assert (await staying.beat()).workers == 1
    assert fleets[0] == Fleet(2, 1)
    await leaving.close()


async def test_fewer_is_believed_only_after_a_while(clocked, monkeypatch) -> None:
    now_s = 1000.0
    monkeypatch.setattr(heartbeat, "monotonic", lambda: now_s)
    one, other = Heartbeat(clocked, ALONE, lambda _: None), Heartbeat(clocked, ALONE, lambda _: None)
    await one.beat()
    await other.beat()
    assert (await one.beat()).workers == 2
    await clocked.store.run(HEARTBEAT, (3, *keys(clocked), "leave", 0, other.worker, 5_000_000, 0, 0, 1))
    assert (await one.beat()).workers == 1
    assert one.fleet.workers == 2
    now_s += heartbeat.FEWER_BEATS * heartbeat.BEAT_S
    await one.beat()
    assert one.fleet == ALONE


async def test_never_fewer_than_its_own_gateway_has(clocked) -> None:
    worker = Heartbeat(clocked, Fleet(4, 2), lambda _: None)
    await worker.beat()
    assert worker.fleet == Fleet(4, 2)


async def test_a_beat_that_lay_around_does_not_count(clocked) -> None:
    late, reader = Heartbeat(clocked, ALONE, lambda _: None), Heartbeat(clocked, ALONE, lambda _: None)
    clocked.now_us = 1_800_000_000_000_000
    arguments = ("beat", 0, late.worker, 5_000_000, clocked.now_us - 300_000, 0, 1)
    await clocked.store.run(HEARTBEAT, (3, *keys(clocked), *arguments))
    assert (await reader.beat()).workers == 1
    assert (await reader.beat(clocked.now_us - 1)).back == 1
    assert (await reader.beat(clocked.now_us)).back == 0


async def test_its_keys_end_by_themselves(clocked, own_redis_server) -> None:
    await Heartbeat(clocked, ALONE, lambda _: None).beat()
    import redis

    with redis.Redis.from_url(own_redis_server.url) as client:
        assert all(0 < client.pttl(key) <= 5_100 for key in keys(clocked)[:2])
        assert 0 < client.pttl(keys(clocked)[2]) <= 7 * 24 * 3600 * 1000


async def test_a_store_that_is_down_is_not_asked(clocked, own_redis_server) -> None:
    worker = Heartbeat(clocked, ALONE, lambda _: None)
    clocked.up = False
    worker.start()
    await turns(2)
    assert not worker.known
    assert worker.store_us() == 0
    await worker.close()
    clocked.up = True
    own_redis_server.kill()
    with pytest.raises(StoreDown):
        await worker.beat()


async def test_lost_data_is_noticed_and_looking_is_not_being_there(clocked) -> None:
    emptied: list[str] = []
    worker = Heartbeat(clocked, ALONE, lambda _: None)
    other = Heartbeat(clocked, ALONE, lambda _: None, lambda: emptied.append("emptied"))
    assert not await worker.has_lost_data()  # it never knew any
    await worker.beat()
    assert not await worker.has_lost_data()
    assert (await other.beat()).data == worker.data
    await clocked.store._pipeline.ask(pack(("FLUSHALL",)))
    assert await worker.has_lost_data()
    assert emptied == []
    assert (await other.beat()).workers == 1
    assert other.data != worker.data
    await other.beat()
    assert emptied == ["emptied"]


def keys(clocked) -> tuple[str, ...]:
    return tuple(f"{clocked.key_prefix}{{fleet}}:{name}" for name in ("heard", "came", "data"))
