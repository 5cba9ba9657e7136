"""What happens when: one suite of timelines, each on the core model, the local store and a real server."""

import itertools
from dataclasses import replace

import pytest

from gateway.core.limits import Algorithm, Charge, Decision, Limit, Mode, Verdict
from tests.contract.counters import Counter

SECOND = 1_000_000
MINUTE = 60 * SECOND
START = 1_764_000_000 * SECOND  # a multiple of ten minutes


def rolling(quota: int = 3, window_us: int = 10 * MINUTE, precision: int = 0, name: str = "tenant-10m") -> Limit:
    quantum_us = -(-window_us // precision) if precision else 1
    return Limit(name, Algorithm.ROLLING_WINDOW, quota, window_us, ("tenant",), quantum_us=quantum_us)


def bucket(burst: int = 2, rate: int = 1, per_us: int = SECOND, name: str = "connection-1m") -> Limit:
    return Limit(name, Algorithm.TOKEN_BUCKET, burst, -(-burst * per_us // rate), ("connection",), rate, per_us)


def fixed(quota: int = 3, window_us: int = MINUTE, name: str = "account-1m") -> Limit:
    return Limit(name, Algorithm.FIXED_WINDOW, quota, window_us, ("account",))


def parallel(slots: int = 2, lease_us: int = MINUTE, name: str = "parallel") -> Limit:
    return Limit(name, Algorithm.CONCURRENCY, slots, lease_us, ("connection",))


class Story:
    """A tenant's calls, each charged to all of `limits`; times are seconds since the start."""

    def __init__(self, counter: Counter, *limits: Limit, tenant: str = "acme") -> None:
        self.counter = counter
        self.limits = limits
        self.tenant = tenant

    def charges(self, *costs: int) -> tuple[Charge, ...]:
        costs = costs or (1,) * len(self.limits)
        return tuple(
            Charge(limit, f"{limit.name}:{{={self.tenant}}}", cost)
            for limit, cost in zip(self.limits, costs, strict=True)
        )

    def call(self, at_s: float, *costs: int, lease: str = "lease") -> Decision:
        return self.counter.admit(self.charges(*costs), lease, START + round(at_s * SECOND))

    def look(self, at_s: float, *costs: int) -> Decision:
        return self.counter.peek(self.charges(*costs), START + round(at_s * SECOND))

    def end(self, at_s: float, *costs: int, lease: str = "lease") -> None:
        self.counter.release(self.charges(*costs), lease, START + round(at_s * SECOND))

    def go_on(self, at_s: float, *costs: int, lease: str = "lease") -> None:
        self.counter.renew(self.charges(*costs), lease, START + round(at_s * SECOND))


def passed(remaining: int, reset_s: float, more_s: float) -> Verdict:
    return Verdict(True, remaining, round(reset_s * SECOND), round(more_s * SECOND), 0)


def refused(remaining: int, reset_s: float, more_s: float, retry_s: float) -> Verdict:
    return Verdict(False, remaining, round(reset_s * SECOND), round(more_s * SECOND), round(retry_s * SECOND))


def test_a_rolling_window_frees_each_call_when_it_is_a_window_old(counter: Counter) -> None:
    story = Story(counter, rolling(quota=3))
    assert story.call(0).verdicts == (passed(2, 600, 600),)
    assert story.call(100).verdicts == (passed(1, 600, 500),)
    assert story.call(250).verdicts == (passed(0, 600, 350),)
    assert story.call(599.999999).verdicts == (refused(0, 250.000001, 0.000001, 0.000001),)
    assert story.call(600).verdicts == (passed(0, 600, 100),)
    assert story.call(699).verdicts == (refused(0, 501, 1, 1),)
    assert story.call(1300).verdicts == (passed(2, 600, 600),)


def test_a_dear_call_waits_until_enough_cheap_ones_are_gone(counter: Counter) -> None:
    story = Story(counter, rolling(quota=10))
    for second in range(8):
        story.call(second)
    assert story.call(8, 5).verdicts == (refused(2, 599, 592, 594),)
    assert not story.call(601.999999, 5).admitted
    assert story.call(602, 5).verdicts == (passed(0, 600, 1),)


def test_precision_dates_calls_up_and_keeps_the_oldest_part_whole(counter: Counter) -> None:
    story = Story(counter, rolling(quota=2, precision=10))
    assert story.call(0).verdicts == (passed(1, 600, 600),)
    assert story.call(1).verdicts == (passed(0, 659, 599),)
    assert story.call(600).verdicts == (passed(0, 600, 60),)
    assert story.call(659.999999).verdicts == (refused(0, 540.000001, 0.000001, 0.000001),)
    assert story.call(660).admitted


def test_refused_calls_cost_nothing(counter: Counter) -> None:
    """A client that calls at twice its rate, and goes on while refused, still gets all it may have."""
    story = Story(counter, rolling(quota=50, window_us=10 * SECOND))
    admitted = [step for step in range(1000) if story.call(step / 10).admitted]
    assert len(admitted) == 500


def test_a_bucket_refills_evenly(counter: Counter) -> None:
    story = Story(counter, bucket(burst=2, rate=3, per_us=SECOND))
    assert story.call(0, 2).verdicts == (passed(0, 0.666667, 0.333334),)
    assert story.call(0.333333).verdicts == (refused(0, 0.333334, 0.000001, 0.000001),)
    assert story.call(0.333334).verdicts == (passed(0, 0.666666, 0.333333),)
    assert story.call(0.666667).verdicts == (passed(0, 0.666667, 0.333333),)
    assert story.look(100).verdicts == (passed(2, 0, 0),)


def test_a_fixed_window_begins_anew_at_its_border(counter: Counter) -> None:
    story = Story(counter, fixed(quota=3))
    assert story.call(59, 3).verdicts == (passed(0, 1, 1),)
    assert story.call(59.5).verdicts == (refused(0, 0.5, 0.5, 0.5),)
    assert story.call(60, 2).verdicts == (passed(1, 60, 60),)


def test_slots_come_back_at_the_end_of_the_call_or_of_the_lease(counter: Counter) -> None:
    story = Story(counter, parallel(slots=2))
    assert story.call(0, lease="one").verdicts == (passed(1, 60, 1),)
    assert story.call(10, lease="two").verdicts == (passed(0, 60, 1),)
    assert story.call(11, lease="three").verdicts == (refused(0, 59, 1, 1),)
    story.end(12, lease="one")
    story.end(12, lease="nobody")
    assert story.call(12, lease="three").verdicts == (passed(0, 60, 1),)
    assert story.call(70, lease="four").admitted  # the gateway of `two` died


def test_a_lease_that_is_renewed_lasts(counter: Counter) -> None:
    story = Story(counter, parallel(slots=2))
    story.call(0, 2, lease="long")
    story.go_on(50, 2, lease="long")
    assert not story.call(100, lease="other").admitted
    story.go_on(110, 2, lease="long")  # lapsed just now: too late
    assert story.call(110, lease="other").verdicts == (passed(1, 60, 1),)


def test_a_call_may_take_several_slots(counter: Counter) -> None:
    story = Story(counter, parallel(slots=3))
    assert story.call(0, 2, lease="wide").verdicts == (passed(1, 60, 1),)
    assert story.call(0, 2, lease="wider").verdicts == (refused(1, 60, 1, 1),)
    story.end(1, 2, lease="wide")
    assert story.call(1, 3, lease="widest").verdicts == (passed(0, 60, 1),)


def test_a_refused_call_charges_no_limit(counter: Counter) -> None:
    story = Story(counter, rolling(quota=5), bucket(burst=1), fixed(quota=5), parallel(slots=5))
    assert story.call(0, lease="a").admitted
    decision = story.call(0.25, lease="b")
    assert not decision.admitted
    assert decision.verdicts == (
        passed(4, 599.75, 599.75),
        refused(0, 0.75, 0.75, 0.75),
        passed(4, 59.75, 59.75),
        passed(4, 59.75, 1),
    )
    assert story.call(1, lease="c").verdicts[0] == passed(3, 600, 599)


def test_a_shadow_is_charged_when_it_had_room_and_the_call_was_admitted(counter: Counter) -> None:
    shadow = replace(rolling(quota=1, name="tenant-10m.shadow"), mode=Mode.SHADOW)
    story = Story(counter, rolling(quota=2), shadow)
    assert story.call(0).verdicts == (passed(1, 600, 600), passed(0, 600, 600))
    second = story.call(1)
    assert second.admitted
    assert second.verdicts == (passed(0, 600, 599), refused(0, 599, 599, 599))


def test_a_peek_changes_nothing(counter: Counter) -> None:
    story = Story(counter, rolling(quota=2), bucket(burst=2), fixed(quota=2), parallel(slots=2))
    story.call(0)
    for _ in range(3):
        decision = story.look(0, 2, 1, 2, 1)
        assert [verdict.admitted for verdict in decision.verdicts] == [False, True, False, True]
        assert [verdict.remaining for verdict in decision.verdicts] == [1, 1, 1, 1]
    assert story.call(0, lease="other").admitted


def test_partitions_do_not_see_each_other(counter: Counter) -> None:
    one, other = Story(counter, rolling(quota=1)), Story(counter, rolling(quota=1), tenant="globex")
    assert one.call(0).admitted
    assert not one.call(0).admitted
    assert other.call(0).admitted


def test_a_reset_forgets(counter: Counter) -> None:
    story = Story(counter, rolling(quota=1))
    story.call(0)
    counter.reset("tenant-10m:{=acme}")
    assert story.call(0).verdicts == (passed(0, 600, 600),)


def test_a_lower_limit_counts_what_was_used_and_a_higher_one_gives_room_at_once(counter: Counter) -> None:
    story = Story(counter, rolling(quota=4))
    for second in range(4):
        story.call(second)
    story.limits = (rolling(quota=2),)
    assert story.call(10).verdicts == (refused(0, 593, 592, 592),)
    assert story.call(602).verdicts == (passed(0, 600, 1),)
    story.limits = (rolling(quota=6),)
    assert story.call(602).verdicts == (passed(3, 600, 1),)


def test_another_algorithm_under_the_same_name_starts_afresh(counter: Counter) -> None:
    limits = [rolling(name="x"), bucket(name="x", burst=3), parallel(name="x", slots=3), fixed(name="x")]
    for before, after in itertools.permutations(limits, 2):
        story = Story(counter, before, tenant=f"{before.algorithm}-{after.algorithm}")
        story.call(0, 2, lease="a")
        story.limits = (after,)
        assert story.look(0, 3).admitted
        assert story.call(0, lease="b").verdicts[0].remaining == 2
        story.end(0, 2, lease="a")
        assert story.look(0).verdicts[0].remaining == 2


@pytest.mark.parametrize("step_s", [0.5, 100, 5000])
def test_after_a_clock_step_the_wait_is_at_most_a_window_and_runs_on(counter: Counter, step_s: float) -> None:
    story = Story(counter, rolling(quota=2))
    story.call(10_000)
    story.call(10_060)
    back_s = 10_060 - step_s
    assert story.call(back_s).verdicts == (refused(0, 600, 540, 540),)
    assert story.call(back_s + 300).verdicts == (refused(0, 300, 240, 240),)
    assert story.call(back_s + 540).verdicts == (passed(0, 600, 60),)


def test_after_a_clock_step_a_bucket_goes_on_refilling(counter: Counter) -> None:
    story = Story(counter, bucket(burst=1, rate=1, per_us=MINUTE))
    story.call(10_000)
    assert story.call(5_000).verdicts == (refused(0, 60, 60, 60),)
    assert story.call(5_030).verdicts == (refused(0, 30, 30, 30),)
    assert story.call(5_060).admitted


def test_after_a_clock_step_a_fixed_window_is_over_at_the_next_border(counter: Counter) -> None:
    story = Story(counter, fixed(quota=1))
    story.call(10_000)
    assert story.call(5_000).verdicts == (refused(0, 40, 40, 40),)
    assert story.call(5_040).admitted


def test_after_a_clock_step_leases_last_no_longer_than_new_ones(counter: Counter) -> None:
    story = Story(counter, parallel(slots=1))
    story.call(10_000, lease="a")
    assert story.call(5_000, lease="b").verdicts == (refused(0, 60, 1, 1),)
    assert story.call(5_059, lease="b").verdicts == (refused(0, 1, 1, 1),)
    assert story.call(5_060, lease="b").admitted
