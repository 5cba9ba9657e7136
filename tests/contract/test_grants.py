"""Another number for one caller, for a while: at the next call, with what was counted, until it ends."""

import pytest
import redis

from gateway.core.ask import Ask
from gateway.core.grant import MAX_GRANT_US, Grant, under
from gateway.core.limits import Algorithm, Charge, Decision, Limit
from gateway.core.settlement import Correction
from gateway.store.scripts.limits import Argument, encode_admit, encode_grant
from gateway.store.scripts.sources import ADMIT, GRANT, Script
from tests.contract.counters import PREFIX, Counter, Local, Scripts
from tests.contract.whole_stores import WholeStore

SECOND = 1_000_000
NOW = 1_764_000_000 * SECOND
HOUR = 3600 * SECOND
LIMITS = {
    Algorithm.ROLLING_WINDOW: Limit("l", Algorithm.ROLLING_WINDOW, 3, HOUR, ("k",)),
    Algorithm.TOKEN_BUCKET: Limit("l", Algorithm.TOKEN_BUCKET, 3, HOUR, ("k",), rate=1, per_us=HOUR // 3),
    Algorithm.FIXED_WINDOW: Limit("l", Algorithm.FIXED_WINDOW, 3, 24 * HOUR, ("k",)),
    Algorithm.CONCURRENCY: Limit("l", Algorithm.CONCURRENCY, 3, HOUR, ("k",)),
}
KEY = "l:{=acme}"


class Caller:
    """Calls one partition, each time with a lease of its own."""

    def __init__(self, counter: Counter, limit: Limit) -> None:
        self.counter, self.charge, self.count = counter, Charge(limit, KEY, 1), 0

    def call(self, at_us: int = 0, cost: int = 1) -> Decision:
        self.count += 1
        return self.counter.admit([self.charge._replace(cost=cost)], f"lease-{self.count}", NOW + at_us)

    def calls(self, at_us: int = 0) -> int:
        """How many get in until one does not."""
        return next(number for number in range(100) if not self.call(at_us).admitted)

    def grant(self, quota: int, for_us: int = HOUR, at_us: int = 0) -> bool:
        return self.counter.grant(self.charge, quota, for_us, NOW + at_us)


@pytest.fixture(params=list(Algorithm))
def caller(request: pytest.FixtureRequest, counter: Counter) -> Caller:
    return Caller(counter, LIMITS[request.param])


def more_of(limit: Limit) -> int:
    """What 5 instead of 3 gives somebody who has used all 3: a bucket is not filled, it fills faster."""
    return 0 if limit.algorithm is Algorithm.TOKEN_BUCKET else 2


def test_a_grant_holds_from_the_next_call_on(caller: Caller) -> None:
    assert caller.calls() == 3
    assert not caller.grant(5)
    assert caller.calls() == more_of(caller.charge.limit)
    refused = caller.call()
    assert refused.quotas == (5,)
    assert refused.verdicts[0].remaining == 0


def test_an_unused_counter_under_a_grant(caller: Caller) -> None:
    caller.grant(5)
    first = caller.call()
    assert (first.quotas, first.verdicts[0].remaining) == ((5,), 4)
    assert caller.calls() == 4


def test_less_than_the_limit(caller: Caller) -> None:
    caller.grant(1)
    assert caller.calls() == 1
    assert caller.call().verdicts[0].remaining == 0


def test_when_it_ends_what_was_counted_counts_on(caller: Caller) -> None:
    caller.grant(5, for_us=10)
    assert caller.calls() == 5
    ended = caller.call(at_us=10)
    assert (ended.admitted, ended.quotas, ended.verdicts[0].remaining) == (False, (), 0)
    assert not caller.call(at_us=11).admitted


def test_taken_back_what_was_counted_counts_on(caller: Caller) -> None:
    caller.grant(5)
    assert caller.call().admitted
    assert caller.call().admitted
    assert caller.grant(0)
    assert not caller.grant(0)
    left = 3 if caller.charge.limit.algorithm is Algorithm.TOKEN_BUCKET else 1  # a bucket keeps what is in it
    after = caller.call()
    assert (after.admitted, after.quotas, after.verdicts[0].remaining) == (True, (), left - 1)
    assert caller.calls() == left - 1


@pytest.mark.parametrize("quota", [11, 1001, 4_000_000_007])
def test_a_grant_that_cannot_be_counted_with_what_the_limit_says_since(counter: Counter, quota: int) -> None:
    caller = Caller(counter, Limit("l", Algorithm.TOKEN_BUCKET, 7, HOUR, ("k",), rate=7, per_us=HOUR))
    caller.grant(quota)
    odd = Limit("l", Algorithm.TOKEN_BUCKET, 1000, 168 * HOUR, ("k",), rate=997, per_us=168 * HOUR)
    caller.charge = Charge(odd, KEY, 1)
    first = caller.call(cost=998)
    assert (first.admitted, first.quotas, first.verdicts[0].remaining) == (True, (1000,), 2)
    assert caller.calls() == 2


def test_a_rate_that_can_be_counted_once_it_is_reduced_is_granted(counter: Counter) -> None:
    """Twice 100,000 at once, one each ten minutes, is 200,000 in a million minutes, or one each five."""
    slow = Limit("l", Algorithm.TOKEN_BUCKET, 100_000, 100_000 * HOUR // 6, ("k",), rate=1, per_us=HOUR // 6)
    caller = Caller(counter, slow)
    caller.grant(200_000)
    first = caller.call(cost=7)
    assert (first.quotas, first.verdicts[0].remaining) == ((200_000,), 199_993)
    assert first.verdicts[0].more_us == HOUR // 12


def test_a_second_grant_replaces_the_first(caller: Caller) -> None:
    caller.grant(5)
    assert caller.call().admitted
    assert caller.grant(2)
    assert caller.call().quotas == (2,)
    caller.grant(0)
    assert caller.calls() == 1


def test_a_reset_leaves_the_grant(caller: Caller) -> None:
    caller.grant(5)
    caller.call()
    caller.counter.reset(KEY)
    assert caller.call().verdicts[0].remaining == 4
    caller.counter.reset(KEY)
    caller.grant(0)
    assert caller.calls() == 3


def test_looking_changes_nothing(caller: Caller) -> None:
    caller.grant(5, for_us=10)
    assert caller.calls() == 5
    for at_us, quotas in ((9, (5,)), (10, ())):
        seen = caller.counter.peek([caller.charge], NOW + at_us)
        assert (seen.admitted, seen.quotas, seen.verdicts[0].remaining) == (False, quotas, 0)


def test_nobody_else_is_under_it(caller: Caller) -> None:
    caller.grant(5)
    other = Charge(caller.charge.limit, "l:{=other}", 1)
    both = caller.counter.admit([other, caller.charge], "both", NOW)
    assert (both.quotas, [verdict.remaining for verdict in both.verdicts]) == ((0, 5), [2, 4])
    assert caller.counter.admit([other], "alone", NOW).quotas == ()


def test_no_grant_lasts_longer_than_a_month(caller: Caller) -> None:
    caller.grant(5, for_us=2 * MAX_GRANT_US)
    assert caller.call(at_us=MAX_GRANT_US - 1).quotas == (5,)
    assert caller.call(at_us=MAX_GRANT_US).quotas == ()


def test_slots_are_given_back_and_renewed_under_a_grant(counter: Counter) -> None:
    caller = Caller(counter, LIMITS[Algorithm.CONCURRENCY])
    caller.call()
    caller.grant(5, for_us=2 * HOUR)
    caller.call(cost=2)
    before, during = [caller.charge], [caller.charge._replace(cost=2)]
    counter.renew(during, "lease-2", NOW + HOUR // 2)
    assert counter.peek(before, NOW + HOUR).verdicts[0].remaining == 3
    counter.release(before, "lease-1", NOW + HOUR // 2)
    counter.release(during, "lease-2", NOW + HOUR // 2)
    assert counter.peek(before, NOW + HOUR // 2).verdicts[0].remaining == 5


@pytest.mark.parametrize("algorithm", [Algorithm.ROLLING_WINDOW, Algorithm.TOKEN_BUCKET, Algorithm.FIXED_WINDOW])
@pytest.mark.parametrize(("delta", "left"), [(-1, 4), (2, 1)])
def test_a_settlement_finds_the_counter(counter: Counter, algorithm: Algorithm, delta: int, left: int) -> None:
    caller = Caller(counter, LIMITS[algorithm])
    caller.grant(5)
    caller.call(cost=2)
    (charge,) = under(Ask([caller.charge]), (5,)).charges
    counter.settle([Correction(charge, delta)], NOW, NOW)
    assert counter.peek([caller.charge], NOW)[1][0].remaining == left
    assert counter.peek([caller.charge], NOW).quotas == (5,)


@pytest.mark.parametrize("algorithm", list(Algorithm))
def test_the_grant_outlives_the_counter(server: "redis.Redis", algorithm: Algorithm) -> None:
    """Else the counter would be lost, and its caller get a second allowance."""
    scripts = Scripts(server)
    caller = Caller(scripts, LIMITS[algorithm])

    def run(script: Script, arguments: list[Argument]) -> list[int]:
        return server.evalsha(script.sha1_hex, *arguments)

    assert run(GRANT, encode_grant(caller.charge, Grant(5, 0), SECOND, PREFIX)) == [0]
    for lease in ("one", "two"):
        run(ADMIT, encode_admit(Ask([caller.charge]), lease, prefix=PREFIX, commit=True))
        grant_ms, counter_ms = server.pttl(PREFIX + KEY), server.pttl(PREFIX + KEY + "!")
        assert grant_ms >= counter_ms > 1_000
    run(GRANT, encode_grant(caller.charge, None, 0, PREFIX))
    assert server.keys() == [(PREFIX + KEY).encode()]
    assert server.pttl(PREFIX + KEY) > 1_000


@pytest.mark.parametrize("counter", ["local", "sentinels", "cluster"], indirect=True)
def test_the_list_has_those_in_force(counter: Local | WholeStore) -> None:
    one, other, third = (Charge(LIMITS[Algorithm.FIXED_WINDOW], f"l:{{={name}}}", 1) for name in ("b", "a", "c"))
    assert counter.grants(NOW) == {}
    counter.grant(one, 7, HOUR, NOW)
    counter.grant(other, 9, 2 * HOUR, NOW)
    counter.grant(third, 5, HOUR, NOW)
    counter.grant(third, 0, 0, NOW)
    assert list(counter.grants(NOW).items()) == [(other.key, (9, "why")), (one.key, (7, "why"))]
    assert list(counter.grants(NOW + HOUR)) == [other.key], "what has ended is struck off"
    assert list(counter.grants(NOW)) == [other.key]
