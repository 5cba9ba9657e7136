"""What calls really cost, told afterwards: the core, the local store and a real server answer alike."""

import asyncio

import pytest
import redis

from gateway.core.algorithms.rolling_window import MOST_MOVED
from gateway.core.ask import Ask
from gateway.core.limits import Charge, Limit
from gateway.core.settlement import Correction
from gateway.core.shares import Fleet
from gateway.store.local.store import LocalStore
from gateway.store.outage.fallback import Fallback
from gateway.store.redis import RedisStore
from gateway.store.scripts.limits import encode_settle
from tests.contract.counters import Counter
from tests.core.limit_cases import SECOND_US, bucket, concurrency, fixed, rolling

NOW_US = 1_764_000_000_000_000
MINUTE_US = 60 * SECOND_US
LIMITS = [
    rolling(100, MINUTE_US),
    bucket(100, 100, MINUTE_US),
    fixed(100, MINUTE_US),
    rolling(100, MINUTE_US, SECOND_US),
]


def remaining(counter: Counter, limit: Limit, now_us: int) -> int:
    return counter.peek([Charge(limit, "k", 1)], now_us).verdicts[0].remaining


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: f"{limit.algorithm}-{limit.quantum_us}")
class TestTokensOfAMinute:
    def test_what_was_too_much_can_be_used_by_others(self, counter: Counter, limit: Limit) -> None:
        call = Charge(limit, "k", 80)
        assert counter.admit([call], "", NOW_US).admitted
        assert not counter.admit([call], "", NOW_US + 1).admitted
        counter.settle([Correction(call, -70)], NOW_US, NOW_US + 2)
        assert remaining(counter, limit, NOW_US + 2) == 90
        assert counter.admit([call], "", NOW_US + 2).admitted

    def test_what_was_too_little_makes_others_wait(self, counter: Counter, limit: Limit) -> None:
        call = Charge(limit, "k", 10)
        assert counter.admit([call], "", NOW_US).admitted
        counter.settle([Correction(call, 120)], NOW_US, NOW_US + 2)
        verdict = counter.admit([call], "", NOW_US + 2).verdicts[0]
        assert (verdict.admitted, verdict.remaining) == (False, 0)
        assert not counter.admit([call], "", NOW_US + 1 + verdict.retry_us).admitted
        assert counter.admit([call], "", NOW_US + 2 + verdict.retry_us).admitted

    def test_only_what_is_there_is_given_back(self, counter: Counter, limit: Limit) -> None:
        call = Charge(limit, "k", 10)
        counter.settle([Correction(call, -10)], NOW_US, NOW_US)
        assert counter.admit([call], "", NOW_US).admitted
        counter.settle([Correction(call, -10_000)], NOW_US, NOW_US + 1)
        assert remaining(counter, limit, NOW_US + 1) == 100


def test_several_limits_are_put_right_together_and_slots_are_not(counter: Counter) -> None:
    charges = [Charge(fixed(100), "f", 10), Charge(concurrency(9), "c", 1), Charge(bucket(100), "b", 20)]
    assert counter.admit(charges, "lease", NOW_US).admitted
    counter.settle([Correction(c, d) for c, d in zip(charges, (-9, -1, -15), strict=True)], NOW_US, NOW_US)
    assert [verdict.remaining for verdict in counter.peek(charges, NOW_US).verdicts] == [99, 8, 95]


def test_a_charge_with_very_many_behind_it_stays(counter: Counter) -> None:
    limit = rolling(2 * MOST_MOVED, 10**9)
    call = Charge(limit, "k", 1)
    for number in range(MOST_MOVED + 1):
        counter.admit([call], "", NOW_US + number)
    now_us, before = NOW_US + MOST_MOVED + 1, MOST_MOVED - 1
    counter.settle([Correction(call, -1)], NOW_US, now_us)
    assert remaining(counter, limit, now_us) == before
    counter.settle([Correction(call, -1)], NOW_US + 1, now_us)
    assert remaining(counter, limit, now_us) == before + 1


async def test_through_the_real_store_on_its_own_clock(redis_url: str, server: "redis.Redis") -> None:
    store = RedisStore(redis_url, timeout_us=20_000_000)
    await store.start()
    try:
        for number, limit in enumerate(LIMITS):
            call = Charge(limit, f"real-{number}", 80)
            decision = await store.admit(Ask([call]), "")
            store.settle([Correction(call, -80)], decision.now_us)
            assert (await store.peek(Ask([call]))).verdicts[0].remaining == 100
            assert all(server.ttl(key) != -1 for key in server.keys("*real*")), "what is settled still ends by itself"
    finally:
        await store.close()


def test_while_the_store_is_down_the_worker_settles_its_share() -> None:
    fallback = Fallback(LocalStore(clock=lambda: NOW_US), Fleet(2, 0), lambda: NOW_US)
    ask, decision = asyncio.run(fallback.admit(Ask([Charge(fixed(100), "k", 40)]), ""))
    assert decision is not None
    fallback.settle([Correction(ask.charges[0], -30)], decision.now_us)
    _, decision = asyncio.run(fallback.admit(Ask([Charge(fixed(100), "k", 40)]), ""))
    assert decision is not None
    assert decision.verdicts[0].remaining == 0


def test_a_partition_is_settled_once_a_call() -> None:
    correction = Correction(Charge(fixed(), "k", 1), 1)
    with pytest.raises(ValueError, match="twice"):
        encode_settle([correction, correction], NOW_US, "t:")
