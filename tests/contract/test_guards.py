"""Breakers and pauses asked together with limits: on the core, the local store and the scripts in a real server."""

from dataclasses import replace

import pytest
import redis

from gateway.core.ask import Ask
from gateway.core.guards import CLEAR, Breaker, Change, Guard, Pausing, Reason, Report, Standing, State
from gateway.core.guards.breaker import LOOK_AGAIN_US
from gateway.core.guards.pause import Pause
from gateway.core.limits import Charge, Decision, Limit
from gateway.store.scripts.guards import encode_force, encode_pause, encode_report
from gateway.store.scripts.sources import FORCE, REPORT
from gateway.store.scripts.sources import PAUSE as PAUSE_SCRIPT
from tests.contract.counters import PREFIX, CoreModel, Counter, Local, Scripts, server_ms
from tests.contract.test_timelines import MINUTE, SECOND, START, parallel, rolling

CLOSED, OPEN, HALF_OPEN = State.CLOSED, State.OPEN, State.HALF_OPEN
IN_A_ROW = Breaker("in-a-row", ("connection",), consecutive_failures=3, open_us=30 * SECOND)
RATE = Breaker("rate", ("connection",), failure_ppm=500_000, minimum_calls=4, open_us=30 * SECOND)
BREAKER = Guard(IN_A_ROW, "breaker:in-a-row:{=c1}")
PAUSE = Guard(Pausing("erp", 15 * MINUTE), "pause:erp:{=c1}")
LIMIT = rolling(quota=2)


class Story:
    """Calls of one connection, guarded by one breaker, a pause, and a limit of 2."""

    def __init__(self, counter: Counter, breaker: Guard = BREAKER, limit: Limit = LIMIT) -> None:
        self.counter, self.breaker = counter, breaker
        self.ask = Ask([Charge(limit, f"{limit.name}:{{=c1}}", 1)], [PAUSE, breaker])
        self.now_us = START

    def at(self, seconds: float) -> "Story":
        self.now_us = START + round(seconds * SECOND)
        return self

    def call(self, lease: str = "", *, commit: bool = True) -> Decision:
        return self.counter.ask(self.ask, self.now_us, lease, commit=commit)

    def report(self, call: Decision | None = None, **counts: int) -> Change | None:
        standing = call.standings[1] if call and call.standings else Standing()
        report = Report(self.breaker, standing.generation, standing.probe, **counts)
        return self.counter.report([report], self.now_us)[0]

    def trip(self) -> Change | None:
        return self.report(failed=3)


def test_what_is_clear_says_nothing(counter: Counter) -> None:
    story = Story(counter)
    assert story.call().standings == ()
    story.report(passed=1)
    assert story.call(commit=False).standings == ()
    assert counter.kept([PAUSE, BREAKER]) == CoreModel().kept([PAUSE, BREAKER])


def test_an_open_breaker_charges_nobody(counter: Counter) -> None:
    story = Story(counter)
    assert story.call().verdicts[0].remaining == 1
    assert story.trip() == Change(OPEN, Reason.CONSECUTIVE_FAILURES, 3, 3, 0, 30 * SECOND)
    for second in range(10):
        held = story.at(second).call()
        assert held == Decision(False, (), story.now_us, (Standing(), Standing(OPEN, (30 - second) * SECOND, 1)))
    assert story.at(30).call().verdicts[0].remaining == 0


def test_a_call_refused_by_a_limit_is_no_probe(counter: Counter) -> None:
    story = Story(counter)
    story.call()
    story.call()
    story.trip()
    refused = story.at(30).call()
    assert (refused.admitted, refused.verdicts[0].admitted) == (False, False)
    assert refused.standings == (Standing(), Standing(OPEN, 0, 1))
    probe = story.at(600).call()
    assert probe.standings[1].moved


def test_exactly_one_probe_flies(counter: Counter) -> None:
    story = Story(counter, limit=rolling(quota=500))
    story.trip()
    calls = [story.at(30).call() for _ in range(200)]
    assert [call.admitted for call in calls] == [True] + [False] * 199
    assert calls[1].standings[1] == Standing(HALF_OPEN, LOOK_AGAIN_US, 2)
    assert story.at(31).report(calls[0], passed=1) == Change(CLOSED, Reason.PROBES_SUCCEEDED, 1)
    assert story.call().standings[1] == Standing(generation=3)


def test_a_probe_of_a_gateway_that_died_is_given_up(counter: Counter) -> None:
    story = Story(counter, limit=rolling(quota=500))
    story.trip()
    assert story.at(30).call().admitted
    assert not story.at(34).call().admitted
    assert story.at(35).call().admitted


def test_a_permit_that_is_renewed_is_out_for_longer_and_one_that_nobody_has_is_not(counter: Counter) -> None:
    story = Story(counter, limit=rolling(quota=500))
    story.trip()
    probe = story.at(30).call()
    story.at(31).report(probe, longer_us=SECOND)
    assert not story.at(35.9).call().admitted
    standing = probe.standings[1]
    renewed = probe._replace(standings=(CLEAR, standing._replace(probe=standing.probe + SECOND)))
    story.report(probe, longer_us=SECOND)  # by the name that it has no more
    assert story.at(36).call().admitted
    assert story.report(renewed, passed=1) == Change(CLOSED, Reason.PROBES_SUCCEEDED, 1)


def test_outcomes_of_an_earlier_generation_do_not_count(counter: Counter) -> None:
    story = Story(counter, limit=rolling(quota=500))
    early = story.call()
    story.trip()
    assert story.report(early, failed=1) is None
    probe = story.at(30).call()
    assert story.report(early, failed=100) is None
    assert story.report(probe, passed=1) is not None
    assert story.report(early, failed=100) is None
    assert story.call().admitted


def test_each_report_of_a_batch_is_answered_for_itself(counter: Counter) -> None:
    other = Guard(RATE, "breaker:rate:{=c1}")
    reports = [
        Report(BREAKER, 0, failed=2),
        Report(other, 0, passed=3, failed=2),
        Report(BREAKER, 0, failed=1),
        Report(other, 0, failed=1),
        Report(BREAKER, 0, failed=1),
    ]
    changes = counter.report(reports, START)
    assert changes == (
        None,
        None,
        Change(OPEN, Reason.CONSECUTIVE_FAILURES, 3, 3, 0, 30 * SECOND),
        Change(OPEN, Reason.FAILURE_RATE, 6, 3, 0, 30 * SECOND),
        None,
    )


def test_a_pause_holds_back_and_charges_nobody(counter: Counter) -> None:
    story = Story(counter)
    assert counter.pause(PAUSE, 41 * SECOND, START) == (True, 41 * SECOND)
    assert counter.pause(PAUSE, 10 * SECOND, START) == (False, 41 * SECOND)
    assert story.at(1).call() == Decision(False, (), story.now_us, (Standing(OPEN, 40 * SECOND), Standing()))
    assert story.at(41).call().verdicts[0].remaining == 1


def test_a_pause_can_be_ended(counter: Counter) -> None:
    story = Story(counter)
    counter.pause(PAUSE, 41 * SECOND, START)
    assert counter.pause(PAUSE, 0, START) == (False, 0)
    assert story.call().standings == ()


def test_a_pause_is_bounded(counter: Counter) -> None:
    assert counter.pause(PAUSE, 10**15, START) == (True, 15 * MINUTE)


def test_so_many_calls_as_the_upstream_says_are_left_and_not_one_more(counter: Counter) -> None:
    story = Story(counter, limit=rolling(quota=500))
    assert counter.pause(PAUSE, 41 * SECOND, START, left=3) == (False, 41 * SECOND)
    standings = [story.at(second).call().standings[0] for second in range(5)]
    assert standings[:3] == [Standing(probe=3), Standing(probe=2), Standing(probe=1)]
    assert standings[3:] == [Standing(OPEN, 38 * SECOND), Standing(OPEN, 37 * SECOND)]
    assert story.at(41).call().standings == ()


def test_of_more_calls_than_can_be_counted_as_many_are_left(counter: Counter) -> None:
    counter.pause(PAUSE, 41 * SECOND, START, left=2**32 + 5)
    assert counter.kept([PAUSE]) == (Pause(0, 2**32 - 1, START + 41 * SECOND),)


def test_a_call_that_is_refused_or_only_looks_takes_nothing_of_what_is_left(counter: Counter) -> None:
    story = Story(counter)
    story.call()
    counter.pause(PAUSE, 41 * SECOND, START, left=2)
    assert story.call(commit=False).standings[0].probe == 2
    assert [story.call().admitted for _ in range(5)] == [True, False, False, False, False]
    assert counter.kept([PAUSE]) == (Pause(0, 1, START + 41 * SECOND),)


def test_a_peek_shows_both_and_changes_nothing(counter: Counter) -> None:
    story = Story(counter)
    story.trip()
    counter.pause(PAUSE, 50 * SECOND, START)
    before = counter.kept([PAUSE, BREAKER])
    peek = story.call(commit=False)
    assert (peek.admitted, peek.verdicts[0].admitted) == (False, True)
    assert [standing.wait_us for standing in peek.standings] == [50 * SECOND, 30 * SECOND]
    assert story.at(50).call(commit=False).admitted
    assert counter.kept([PAUSE, BREAKER]) == before


def test_an_operator_holds_it_and_gives_it_back(counter: Counter) -> None:
    story = Story(counter, limit=rolling(quota=500))
    assert counter.force(BREAKER, OPEN, 600 * SECOND, START) == Change(OPEN, Reason.FORCED, wait_us=600 * SECOND)
    assert story.call().standings[1] == Standing(OPEN, 600 * SECOND, 1)
    assert counter.force(BREAKER, OPEN, 60 * SECOND, START) is None
    assert counter.force(BREAKER, CLOSED, 60 * SECOND, START) == Change(CLOSED, Reason.FORCED)
    assert story.report(story.call(), failed=99) is None
    assert counter.force(BREAKER, None, 0, START + 1) is None
    story.at(1)
    assert story.report(story.call(), failed=99) is not None


@pytest.mark.parametrize("counter", ["local", "scripts"], indirect=True)
def test_breakers_in_trouble_are_listed(counter: Local | Scripts) -> None:
    story = Story(counter, limit=rolling(quota=500))
    other = Guard(IN_A_ROW, "breaker:in-a-row:{=c2}")
    assert counter.troubled() == ()
    story.report(failed=2)
    assert counter.troubled() == ()
    story.report(failed=1)
    assert counter.force(other, CLOSED, 60 * SECOND, START + 1) is None
    assert set(counter.troubled()) == {BREAKER.key, other.key}
    probe = story.at(30).call()
    assert set(counter.troubled()) == {BREAKER.key, other.key}
    story.report(probe, passed=1)
    assert counter.troubled() == (other.key,)


def test_the_list_lets_go_of_what_is_forgotten(server: "redis.Redis") -> None:
    scripts = Scripts(server)
    Story(scripts).trip()
    other = Story(scripts, Guard(IN_A_ROW, "breaker:in-a-row:{=c2}"))
    other.at(3600 + 29).trip()
    assert set(scripts.troubled()) == {BREAKER.key, other.breaker.key}
    third = Story(scripts, Guard(IN_A_ROW, "breaker:in-a-row:{=c3}"))
    third.at(3600 + 30).trip()
    assert set(scripts.troubled()) == {other.breaker.key, third.breaker.key}


def test_what_held_a_slot_back_takes_none(counter: Counter) -> None:
    story = Story(counter, limit=parallel(slots=1))
    story.trip()
    assert not story.call("a").admitted
    assert story.at(30).call("b").admitted


def test_a_backward_step_is_made_good_once(counter: Counter) -> None:
    story = Story(counter, limit=rolling(quota=500))
    story.trip()
    counter.pause(PAUSE, MINUTE, START)
    back = story.at(-10_000).call()
    assert [standing.wait_us for standing in back.standings] == [15 * MINUTE, IN_A_ROW.max_open_us]
    later = story.at(-10_000 + 100).call()
    assert [standing.wait_us for standing in later.standings] == [800 * SECOND, 200 * SECOND]
    assert not story.at(-10_000 + 850).call().admitted
    assert story.at(-10_000 + 900).call().standings[1].moved
    counter.pause(PAUSE, 0, story.now_us)
    stuck = story.at(-20_000).call()
    assert stuck.standings[1] == Standing(HALF_OPEN, LOOK_AGAIN_US, 2)
    assert story.at(-20_000 + 61).call().admitted


def test_partitions_do_not_see_each_other(counter: Counter) -> None:
    story = Story(counter)
    story.trip()
    other = Story(counter, Guard(IN_A_ROW, "breaker:in-a-row:{=c2}"))
    assert other.call().standings == ()
    assert not story.call().admitted


def test_a_reset_forgets(counter: Counter) -> None:
    story = Story(counter)
    story.trip()
    counter.reset(BREAKER.key)
    assert story.call().standings == ()


@pytest.mark.parametrize("foreign", [b"", b"x", b"\x51\x01", b"\x61", b"\x61" * 14, b"\x99" * 300])
def test_what_stands_under_the_name_of_a_key_counts_as_nothing(server: "redis.Redis", foreign: bytes) -> None:
    scripts = Scripts(server)
    for key in (PAUSE.key, BREAKER.key):
        server.set(PREFIX + key, foreign)
    story = Story(scripts)
    assert story.call().admitted
    assert scripts.pause(PAUSE, SECOND, START) == (True, SECOND)
    assert story.trip() is not None


def test_a_key_of_another_type_counts_as_nothing(server: "redis.Redis") -> None:
    scripts = Scripts(server)
    for key in (PAUSE.key, BREAKER.key):
        server.rpush(PREFIX + key, "x")
    story = Story(scripts)
    assert story.call().admitted
    assert scripts.pause(PAUSE, SECOND, START) == (True, SECOND)
    assert story.trip() is not None


def test_a_clear_breaker_costs_one_read_and_no_write(server: "redis.Redis") -> None:
    scripts = Scripts(server)
    story = Story(scripts, limit=rolling(quota=500))
    server.config_resetstat()
    story.call()
    story.report(passed=1)
    assert [key for key in server.scan_iter() if b"breaker" in key or b"pause" in key] == []
    stats = server.info("commandstats")
    assert stats["cmdstat_mget"]["calls"] == 2


def test_how_long_keys_live(server: "redis.Redis") -> None:
    scripts = Scripts(server)
    rate = Guard(RATE, "breaker:rate:{=c1}")

    def ttl_ms(script: str, *arguments: object) -> tuple[int, int]:
        began_ms = server_ms(server)
        server.evalsha(script, *arguments)  # at the server's own time, so nothing is persisted
        return min(server.pttl(key) for key in server.scan_iter()), server_ms(server) - began_ms

    hour_ms, slack_ms = 3600 * 1000, 100
    cases = [
        (REPORT, encode_report([Report(rate, 0, passed=1)], PREFIX), 66_000),  # the window and a part of it
        (REPORT, encode_report([Report(BREAKER, 0, failed=1)], PREFIX), hour_ms),
        (REPORT, encode_report([Report(BREAKER, 0, failed=3)], PREFIX), hour_ms + 30_000),
        (FORCE, encode_force(BREAKER, OPEN, 3600 * SECOND, PREFIX), hour_ms + 3_600_000),
        (PAUSE_SCRIPT, encode_pause(PAUSE, 41 * SECOND, PREFIX), 41_000),
        (PAUSE_SCRIPT, encode_pause(PAUSE, 41 * SECOND, PREFIX, left=7), 41_000),
    ]
    for script, arguments, lives_ms in cases:
        server.flushdb()
        left_ms, passed_ms = ttl_ms(script.sha1_hex, *arguments)
        assert lives_ms - 1000 - passed_ms < left_ms <= lives_ms + slack_ms
    assert scripts.kept([BREAKER])


def test_numbers_may_change_while_it_is_open(counter: Counter) -> None:
    story = Story(counter)
    story.trip()
    story.breaker = Guard(replace(IN_A_ROW, max_open_us=5 * SECOND), BREAKER.key)
    story.ask = Ask(story.ask.charges, [PAUSE, story.breaker])
    assert story.at(1).call().standings[1].wait_us == 5 * SECOND
    assert story.at(6).call().admitted
