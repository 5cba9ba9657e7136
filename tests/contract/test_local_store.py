"""What only the local store has: a bounded number of keys, and times that it takes from its own clock."""

from dataclasses import replace

from gateway.core.ask import Ask
from gateway.core.grant import Grant
from gateway.core.limits import Charge, Limit
from gateway.store import Store
from gateway.store.local.store import LocalStore, steady_us
from tests.contract.test_timelines import MINUTE, SECOND, bucket, parallel, rolling


class Clock:
    now_us = 1000 * MINUTE

    def __call__(self) -> int:
        return self.now_us


def charge(limit: Limit, tenant: object) -> Charge:
    return Charge(limit, f"{limit.name}:{{={tenant}}}", 1)


def test_it_is_a_store() -> None:
    store: Store = LocalStore()
    assert store.kind == "local"


async def test_the_real_clock_runs_forward() -> None:
    earlier_us = steady_us()
    store = LocalStore()
    await store.start()
    decision = await store.admit(Ask([charge(rolling(), "a")]), "lease")
    assert earlier_us <= decision.now_us <= steady_us()
    assert await store.ping() == 0
    await store.close()


async def test_partitions_that_say_nothing_any_more_make_room() -> None:
    clock = Clock()
    store = LocalStore(clock, max_keys=1000)
    for tenant in range(5000):
        clock.now_us += SECOND
        assert (await store.admit(Ask([charge(rolling(window_us=10 * SECOND), tenant)]), "")).admitted
        assert len(store) <= 12


async def test_when_it_is_full_the_one_that_would_be_forgotten_soonest_goes() -> None:
    clock = Clock()
    store = LocalStore(clock, max_keys=3)
    long, short = rolling(quota=1, window_us=60 * MINUTE), rolling(quota=1, window_us=MINUTE, name="short")
    for limit, tenant in ((long, "a"), (short, "b"), (long, "c"), (long, "d")):
        assert (await store.admit(Ask([charge(limit, tenant)]), "")).admitted
    assert len(store) == 3
    assert not (await store.peek(Ask([charge(long, "a")]))).admitted
    assert (await store.peek(Ask([charge(short, "b")]))).admitted


async def test_of_too_many_grants_those_that_would_end_first_end_now() -> None:
    store = LocalStore(Clock(), max_keys=2)
    for tenant, for_us in (("a", 60 * MINUTE), ("b", MINUTE), ("c", 30 * MINUTE)):
        assert not await store.grant(charge(rolling(), tenant), Grant(7, 0), for_us)
    granted = [(await store.peek(Ask([charge(rolling(), tenant)]))).quotas for tenant in "abc"]
    assert granted == [(7,), (), (7,)]


async def test_a_partition_that_goes_on_being_charged_stays() -> None:
    clock = Clock()
    store = LocalStore(clock, max_keys=4)
    limit = rolling(quota=1000, window_us=10 * SECOND)
    for step in range(200):
        clock.now_us += SECOND // 2
        await store.admit(Ask([charge(limit, "steady")]), "")
        await store.admit(Ask([charge(replace(limit, window_us=SECOND), f"once-{step}")]), "")
    assert (await store.peek(Ask([charge(limit, "steady")]))).verdicts[0].remaining == 1000 - 20


async def test_the_heap_stays_as_small_as_the_store() -> None:
    clock = Clock()
    store = LocalStore(clock, max_keys=50)
    one = charge(bucket(burst=1, per_us=MINUTE), "a")
    for _ in range(1000):
        assert (await store.admit(Ask([one]), "")).admitted
        assert await store.reset(one)
        assert not await store.reset(one)
    for step in range(200):
        await store.admit(Ask([charge(bucket(burst=1, per_us=MINUTE), step)]), "")
    assert len(store) == 50
    assert len(store._partitions._endings) == 50


async def test_a_renewed_lease_outlives_its_first_end() -> None:
    clock = Clock()
    store = LocalStore(clock, max_keys=2)
    limit = parallel(slots=1, lease_us=MINUTE)
    held = charge(limit, "a")
    await store.admit(Ask([held]), "lease")
    clock.now_us += 50 * SECOND
    store.renew([held], "lease")
    clock.now_us += 50 * SECOND
    for tenant in range(5):
        await store.admit(Ask([charge(rolling(window_us=SECOND), tenant)]), "")
    assert not (await store.peek(Ask([held]))).admitted
    store.release([held], "lease")
    store.release([held, charge(limit, "unknown")], "lease")
    assert (await store.peek(Ask([held]))).admitted


def test_an_empty_store_is_not_nothing() -> None:
    store = LocalStore()
    assert len(store) == 0
    assert store
