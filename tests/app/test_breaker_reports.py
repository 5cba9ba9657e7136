"""What breakers are told, when, and how much of it in one command."""

import asyncio
import gc
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.classes import Counts
from gateway.core.guards import CLEAR, Breaker, Change, Guard, Pausing, Reason, Report, Standing, State
from gateway.core.learning import Heed
from gateway.core.units import HOUR_US
from gateway.guards import permits
from gateway.guards.breakers import Breakers
from gateway.guards.passages import Passage
from gateway.guards.pauses import Pauses
from gateway.guards.permits import MOST_RENEWED
from gateway.guards.successes import MOST_REPORTS
from gateway.store import StoreDown
from gateway.store.local.store import LocalStore
from tests.fakes.collector import no_collector
from tests.fakes.waiting import eventually, turns

IN_A_ROW = Breaker("b", ("c",), consecutive_failures=3)
RATE = replace(IN_A_ROW, failure_ppm=500_000, slow_ppm=500_000, slow_us=1_000_000)
OPENED = Change(State.OPEN, Reason.CONSECUTIVE_FAILURES, 3, 3, 0, 30)
SUCCESS, FAILURE, IGNORE = Counts.SUCCESS, Counts.FAILURE, Counts.IGNORE


class Judge:
    """Takes reports, and answers with the same change to each failure, while it is `answering`."""

    def __init__(self) -> None:
        self.commands: list[list[Report]] = []
        self.answering = asyncio.Event()
        self.answering.set()
        self.down = False

    async def report(self, reports: Sequence[Report]) -> tuple[Change | None, ...]:
        self.commands.append(list(reports))
        await self.answering.wait()
        if self.down:
            raise StoreDown("timeout")
        return tuple(OPENED if report.failed else None for report in reports)


@pytest.fixture
def judge() -> Judge:
    return Judge()


@pytest.fixture
async def breakers() -> Breakers:
    return Breakers(LocalStore())


def passage(judge: Judge, breaker: Breaker = IN_A_ROW, key: str = "k", standing: Standing = CLEAR) -> Passage:
    return Passage(Guard(breaker, key), standing, judge)


async def test_a_store_that_holds_nothing_yet_is_told_all_the_same() -> None:
    own, store, guard = LocalStore(), LocalStore(), Guard(IN_A_ROW, "k")
    breakers, pauses = Breakers(own), Pauses(own)
    breakers.ended(breakers.let_in(guard, (), store), FAILURE, 0.0)
    await breakers.close()
    assert (len(own), len(store)) == (0, 1)
    store = LocalStore()
    pauses.begin(Guard(Pausing("up", 1_000_000), "p"), Heed(1_000_000), store)
    await pauses.close()
    assert (len(own), len(store)) == (0, 1)


async def test_a_failure_is_told_at_once_with_the_successes_before_it(breakers: Breakers, judge: Judge) -> None:
    seen: list[Change] = []
    breakers.on_change = lambda _guard, change: seen.append(change)
    for _ in range(3):
        breakers.ended(passage(judge), SUCCESS, 0.0)
    breakers.ended(passage(judge), FAILURE, 0.0)
    breakers.ended(passage(judge), FAILURE, 0.0)
    await breakers.close()
    guard = Guard(IN_A_ROW, "k")
    assert judge.commands == [[Report(guard, 0, 0, 3, 1)], [Report(guard, 0, 0, 0, 1)]]
    assert seen == [OPENED, OPENED]


async def test_successes_alone_are_told_together_and_only_to_who_counts_rates(breakers: Breakers, judge: Judge) -> None:
    for took_s in (0.5, 1.0, 1.5):
        breakers.ended(passage(judge, RATE), SUCCESS, took_s)
        breakers.ended(passage(judge, IN_A_ROW, "other"), SUCCESS, took_s)
    await breakers.close()
    assert judge.commands == [[Report(Guard(RATE, "k"), 0, 0, 3, 0, slow=1)]]


async def test_successes_are_told_without_being_asked_for(breakers: Breakers, judge: Judge) -> None:
    breakers.ended(passage(judge, RATE), SUCCESS, 0.0)
    await eventually(lambda: judge.commands)
    breakers.ended(passage(judge, RATE), SUCCESS, 0.0)
    await breakers.close()
    assert [command[0].passed for command in judge.commands] == [1, 1]


async def test_callers_on_many_routes_count_in_one_place_what_their_breaker_is_told(
    breakers: Breakers, judge: Judge
) -> None:
    first = breakers.let_in(Guard(RATE, "k"), (), judge)
    breakers.ended(first, SUCCESS, 0.0)
    assert breakers.let_in(Guard(RATE, "k"), (), judge) is first
    others = [
        breakers.let_in(Guard(RATE, "other"), (), judge),
        breakers.let_in(Guard(replace(RATE, minimum_calls=7), "k"), (), judge),  # the policies were edited
        breakers.let_in(Guard(RATE, "k"), (), None),  # decided in this worker: the store is away
        breakers.let_in(Guard(RATE, "k"), (Standing(State.CLOSED, 5),), judge),  # something is known of it
    ]
    assert all(other is not first for other in others)
    await breakers.close()
    assert judge.commands == [[Report(Guard(RATE, "k"), 0, 0, 1, 0)]]
    assert breakers.let_in(Guard(RATE, "k"), (), judge) is not first


async def test_a_command_holds_only_so_many_reports(breakers: Breakers, judge: Judge) -> None:
    for number in range(2 * MOST_REPORTS + 1):
        breakers.ended(passage(judge, RATE, str(number)), SUCCESS, 0.0)
    await breakers.close()
    assert [len(command) for command in judge.commands] == [MOST_REPORTS, MOST_REPORTS, 1]


async def test_commands_go_one_after_the_other_and_what_waits_goes_on_counting(
    breakers: Breakers, judge: Judge
) -> None:
    """Else decisions would wait in the store behind all of them."""
    judge.answering.clear()
    for number in range(2 * MOST_REPORTS):
        breakers.ended(passage(judge, RATE, str(number)), SUCCESS, 0.0)
    closing = asyncio.ensure_future(breakers.close())
    await eventually(lambda: judge.commands)
    first, last, failing = "0", str(2 * MOST_REPORTS - 1), str(MOST_REPORTS)
    for key in (first, last):
        breakers.ended(passage(judge, RATE, key), SUCCESS, 0.0)
    breakers.ended(passage(judge, RATE, failing), FAILURE, 0.0)
    await eventually(lambda: len(judge.commands) == 2)
    assert [len(command) for command in judge.commands] == [MOST_REPORTS, 1]
    judge.answering.set()
    await closing
    told = [(report.guard.key, report.passed, report.failed) for command in judge.commands for report in command]
    assert told.count((first, 1, 0)) == 2  # it was told, and counts anew
    assert (last, 2, 0) in told
    assert (failing, 1, 1) in told
    assert sum(passed for _, passed, _ in told) == 2 * MOST_REPORTS + 2


async def test_a_flush_does_not_begin_before_the_last_one_is_over(
    breakers: Breakers, judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.guards.successes.TURN_S", 0.001)
    judge.answering.clear()
    for number in range(MOST_REPORTS + 1):
        breakers.ended(passage(judge, RATE, str(number)), SUCCESS, 0.0)
    await eventually(lambda: judge.commands)
    timer = breakers._successes._timer
    breakers.ended(passage(judge, RATE, "another"), SUCCESS, 0.0)
    assert breakers._successes._timer is timer
    judge.answering.set()
    await eventually(lambda: sum(map(len, judge.commands)) == MOST_REPORTS + 2)
    await breakers.close()
    assert sum(map(len, judge.commands)) == MOST_REPORTS + 2


PATIENT = Breaker("b", ("c",), window_us=10_000_000, minimum_calls=20, failure_ppm=500_000)
"""Good calls wait for a twentieth of the window: five turns."""


@pytest.fixture
def turn(breakers: Breakers, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Awaitable[None]]:
    """Let so many turns pass; none begins by itself."""
    monkeypatch.setattr("gateway.guards.successes.TURN_S", 3600.0)

    async def pass_by(count: int) -> None:
        for _ in range(count):
            await breakers._successes._take_turn(asyncio.get_running_loop().time())
            await turns()

    return pass_by


Turn = Callable[[int], Awaitable[None]]


def passed(judge: Judge) -> list[int]:
    """The good calls in each report."""
    return [report.passed for command in judge.commands for report in command]


@pytest.mark.parametrize(
    ("breaker", "patience"),
    [
        (PATIENT, 5),
        (replace(PATIENT, window_us=HOUR_US), 50),
        (replace(PATIENT, window_us=1_000_000), 1),
        (replace(PATIENT, failure_ppm=0, slow_ppm=1, slow_us=1_000_000), 5),
        (replace(PATIENT, consecutive_failures=3), 1),
    ],
)
async def test_good_calls_wait_for_a_twentieth_of_a_window_unless_they_could_end_a_run(
    breakers: Breakers, judge: Judge, turn: Turn, breaker: Breaker, patience: int
) -> None:
    breakers.ended(passage(judge, breaker), SUCCESS, 0.0)
    await turn(patience - 1)
    breakers.ended(passage(judge, breaker), SUCCESS, 0.0)
    assert judge.commands == []
    await turn(1)
    assert passed(judge) == [2]
    breakers.ended(passage(judge, breaker), SUCCESS, 0.0)
    await turn(patience - 1)
    assert passed(judge) == [2]
    await turn(1)
    assert passed(judge) == [2, 1]


async def test_a_breaker_that_judges_by_few_calls_misses_less_than_a_quarter_of_them(
    breakers: Breakers, judge: Judge, turn: Turn
) -> None:
    for _ in range(4):
        breakers.ended(passage(judge, PATIENT), SUCCESS, 0.0)
    breakers.ended(passage(judge, replace(PATIENT, minimum_calls=1), "few"), SUCCESS, 0.0)
    await turn(1)
    assert passed(judge) == [1]
    breakers.ended(passage(judge, PATIENT), SUCCESS, 0.0)
    await turn(1)
    assert passed(judge) == [1, 5]


async def test_a_slow_call_takes_the_others_along_in_the_next_turn(
    breakers: Breakers, judge: Judge, turn: Turn
) -> None:
    slow = replace(PATIENT, slow_ppm=500_000, slow_us=1_000_000)
    breakers.ended(passage(judge, slow), SUCCESS, 0.5)
    breakers.ended(passage(judge, slow), SUCCESS, 1.5)
    await turn(1)
    assert judge.commands == [[Report(Guard(slow, "k"), 0, 0, 2, 0, slow=1)]]


async def test_many_slow_calls_are_one_report_a_turn(breakers: Breakers, judge: Judge, turn: Turn) -> None:
    """Also while the store answers: they are not due again before the next one."""
    slow = replace(PATIENT, slow_ppm=500_000, slow_us=1_000_000)
    for _ in range(3 * MOST_REPORTS):
        breakers.ended(passage(judge, slow), SUCCESS, 1.5)
    for number in range(2 * MOST_REPORTS):
        breakers.ended(passage(judge, slow, str(number)), SUCCESS, 1.5)
    assert {key: len(due) for key, due in breakers._successes._due.items()} == {
        5: 2 * MOST_REPORTS + 1,
        1: 2 * MOST_REPORTS + 1,
    }
    judge.answering.clear()
    turning = asyncio.ensure_future(turn(1))
    await eventually(lambda: judge.commands)
    breakers.ended(passage(judge, slow), SUCCESS, 1.5)
    judge.answering.set()
    await turning
    assert passed(judge) == [3 * MOST_REPORTS] + [1] * (2 * MOST_REPORTS)
    await turn(1)
    assert passed(judge) == [3 * MOST_REPORTS] + [1] * (2 * MOST_REPORTS + 1)


async def test_a_turn_begins_a_tenth_of_a_second_after_the_last_one_has_begun(
    breakers: Breakers, judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long that took: patience is counted in turns. At once where even the next one should have been over."""
    successes, loop, turns_s = breakers._successes, asyncio.get_running_loop(), list[float]()
    monkeypatch.setattr("gateway.guards.successes.TURN_S", 3600.0)
    monkeypatch.setattr(successes, "_begin_at", turns_s.append)
    now_s = loop.time()
    breakers.ended(passage(judge, PATIENT), SUCCESS, 0.0)
    assert now_s + 3600 <= turns_s.pop() <= loop.time() + 3600
    await successes._take_turn(now_s - 600)
    assert turns_s.pop() == now_s - 600 + 3600
    await successes._take_turn(now_s - 6000)
    assert now_s <= turns_s.pop() <= loop.time()
    await breakers.close()


async def test_who_was_told_with_a_failure_waits_anew(breakers: Breakers, judge: Judge, turn: Turn) -> None:
    shared = passage(judge, PATIENT)
    breakers.ended(shared, SUCCESS, 0.0)
    await turn(2)
    breakers.ended(shared, FAILURE, 0.0)
    breakers.ended(shared, SUCCESS, 0.0)
    await turn(4)
    assert passed(judge) == [1]
    await turn(1)
    assert passed(judge) == [1, 1]


async def test_where_nothing_is_left_to_tell_no_turn_follows(breakers: Breakers, judge: Judge, turn: Turn) -> None:
    for outcome in (SUCCESS, FAILURE):
        breakers.ended(passage(judge, PATIENT), outcome, 0.0)
    await turn(1)
    assert (breakers._successes._due, breakers._successes._timer) == ({}, None)


@given(st.lists(st.sampled_from(["good", "good", "bad", "turn", "turn"]), max_size=80), st.sampled_from([1, 8, 20]))
def test_what_a_breaker_was_not_told_yet_is_little_and_new(happening: list[str], minimum_calls: int) -> None:
    """After each turn: less than a quarter of what it needs to judge, and none that came longer than a twentieth of its
    window ago. After a failure: nothing."""
    judge, breaker = Judge(), replace(PATIENT, minimum_calls=minimum_calls)

    async def happen() -> None:
        breakers, turn = Breakers(LocalStore()), 0
        came: list[int] = []  # good calls: how many turns had passed
        for event in happening:
            if event == "turn":
                turn += 1
                await breakers._successes._take_turn(asyncio.get_running_loop().time())
            else:
                came += [turn] * (event == "good")
                breakers.ended(passage(judge, breaker), SUCCESS if event == "good" else FAILURE, 0.0)
            await turns()
            untold = came[sum(passed(judge)) :]
            if event == "turn":
                assert len(untold) < max(1, minimum_calls // 4)
                assert all(turn - since < 5 for since in untold)
            assert event != "bad" or not untold
        await breakers.close()
        assert sum(passed(judge)) == len(came)

    asyncio.run(happen())


async def test_judges_hear_only_of_what_they_let_through(breakers: Breakers, judge: Judge) -> None:
    other = Judge()
    breakers.ended(passage(judge, RATE), SUCCESS, 0.0)
    breakers.ended(passage(other, RATE), FAILURE, 0.0)
    await breakers.close()
    assert [command[0].passed for command in judge.commands] == [1]
    assert [(command[0].passed, command[0].failed) for command in other.commands] == [(0, 1)]


async def test_generations_are_not_mixed(breakers: Breakers, judge: Judge) -> None:
    breakers.ended(passage(judge, RATE), SUCCESS, 0.0)
    breakers.ended(passage(judge, RATE, standing=Standing(generation=3)), FAILURE, 0.0)
    await breakers.close()
    told = [(report.generation, report.passed, report.failed) for command in judge.commands for report in command]
    assert sorted(told) == [(0, 1, 0), (3, 0, 1)]


async def test_successes_of_generations_and_judges_are_counted_apart(breakers: Breakers, judge: Judge) -> None:
    """In the order in which they came; what a breaker does not remember is not told here either."""
    other, later = Judge(), Standing(generation=3)
    for one in (passage(judge, RATE), passage(judge, RATE), passage(judge, RATE, standing=later), passage(other, RATE)):
        breakers.ended(one, SUCCESS, 0.0)
    for one in (passage(judge, IN_A_ROW, "row"), passage(judge, IN_A_ROW, "row", later)):
        breakers.ended(one, SUCCESS, 0.0)
    await breakers.close()
    told = [(report.generation, report.passed) for command in judge.commands for report in command]
    assert told == [(0, 2), (3, 1)]
    assert [(report.generation, report.passed) for command in other.commands for report in command] == [(0, 1)]


async def test_a_passage_that_was_told_counts_anew(breakers: Breakers, judge: Judge) -> None:
    """All calls of a caller share one, for as long as nothing is known against the breaker's calls."""
    shared = passage(judge, RATE)
    for outcome in (SUCCESS, SUCCESS, FAILURE, SUCCESS):
        breakers.ended(shared, outcome, 0.0)
    await breakers.close()
    told = [(report.passed, report.failed) for command in judge.commands for report in command]
    assert told == [(2, 1), (1, 0)]


async def test_what_decides_something_is_told_at_once(breakers: Breakers, judge: Judge) -> None:
    breakers.ended(passage(judge, standing=Standing(urgent=True)), SUCCESS, 0.0)
    probe = Standing(State.HALF_OPEN, 0, 2, probe=77, urgent=True)
    breakers.ended(passage(judge, standing=probe), SUCCESS, 0.0)
    breakers.ended(passage(judge, standing=probe), IGNORE, 0.0)
    breakers.ended(passage(judge), IGNORE, 9.9)
    await breakers.close()
    guard = Guard(IN_A_ROW, "k")
    assert judge.commands == [[Report(guard, 0, 0, 1)], [Report(guard, 2, 77, 1)], [Report(guard, 2, 77)]]


async def test_a_store_that_is_down_is_told_in_vain(breakers: Breakers, judge: Judge) -> None:
    seen: list[Change] = []
    breakers.on_change = lambda _guard, change: seen.append(change)
    judge.down = True
    breakers.ended(passage(judge), FAILURE, 0.0)
    await breakers.close()
    assert (len(judge.commands), seen) == (1, [])


async def test_who_moves_a_breaker_tells_it(breakers: Breakers, judge: Judge) -> None:
    seen: list[Change] = []
    breakers.on_change = lambda _guard, change: seen.append(change)
    guard = Guard(IN_A_ROW, "k")
    moved = Standing(State.HALF_OPEN, 0, 2, probe=77, urgent=True, moved=True)
    assert breakers.let_in(guard, (CLEAR, moved), judge).standing == moved
    breakers.let_in(guard, (CLEAR, moved._replace(moved=False)), judge)
    breakers.let_in(guard, (), judge)
    assert seen == [Change(State.HALF_OPEN, Reason.OPEN_TIME_OVER)]


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Permits are renewed all the time."""
    monkeypatch.setattr(permits, "RENEW_S", 0.001)


PROBE = Standing(State.HALF_OPEN, 0, 2, probe=77, urgent=True)


@pytest.mark.usefixtures("quickly")
async def test_permits_are_renewed_while_their_probes_are_out(breakers: Breakers, judge: Judge) -> None:
    guards = [Guard(IN_A_ROW, str(number)) for number in range(MOST_RENEWED + 5)]
    passages = [breakers.let_in(guard, (PROBE,), judge) for guard in guards]
    await eventually(lambda: len(judge.commands) >= 4)
    assert [len(command) for command in judge.commands[:2]] == [MOST_RENEWED, 5]
    for one in passages:
        breakers.ended(one, SUCCESS, 0.0)
    await breakers.close()
    reports = [report for command in judge.commands for report in command if report.guard == guards[0]]
    probe = 77
    for report in reports[:-1]:
        assert report == Report(guards[0], 2, probe, longer_us=report.longer_us)
        probe += report.longer_us
    assert reports[-1] == Report(guards[0], 2, probe, passed=1)


@pytest.mark.usefixtures("quickly")
async def test_a_permit_keeps_its_name_while_the_store_is_away(breakers: Breakers, judge: Judge) -> None:
    judge.down = True
    passage = breakers.let_in(Guard(IN_A_ROW, "k"), (PROBE,), judge)
    await eventually(lambda: len(judge.commands) >= 3)
    first, second, *_ = [command[0] for command in judge.commands]
    assert (first.probe, second.probe) == (77, 77)
    assert second.longer_us > first.longer_us
    breakers.ended(passage, SUCCESS, 0.0)
    told = len(judge.commands)
    assert breakers._permits._out == {}
    await breakers.close()
    assert judge.commands[told - 1 :][-1] == [Report(passage.guard, 2, 77, 1)]


@pytest.mark.usefixtures("quickly")
async def test_no_probe_keeps_its_permit_for_longer_than_any_may_take(breakers: Breakers, judge: Judge) -> None:
    passage = breakers.let_in(Guard(replace(IN_A_ROW, probe_us=10_000), "k"), (PROBE,), judge)
    await eventually(lambda: breakers._permits._renewing is None)
    breakers.ended(passage, SUCCESS, 0.0)
    await breakers.close()
    assert sum(report.passed for command in judge.commands for report in command) == 1


@pytest.mark.usefixtures("quickly")
async def test_the_permit_of_a_call_that_is_forgotten_is_not_renewed(breakers: Breakers, judge: Judge) -> None:
    passage = breakers.let_in(Guard(IN_A_ROW, "k"), (PROBE,), judge)
    await eventually(lambda: judge.commands)
    del passage
    await eventually(lambda: breakers._permits._renewing is None)


async def test_what_was_told_is_free_at_once(judge: Judge, breakers: Breakers) -> None:
    with no_collector():
        for number in range(100):
            one = passage(judge, RATE, f"k{number}")
            breakers.ended(one, SUCCESS, 0.0)
        await breakers._successes._take_turn(asyncio.get_running_loop().time())
        del one
        assert gc.collect() < 100


async def test_a_turn_that_fails_is_not_the_last_one(breakers: Breakers, judge: Judge) -> None:
    class Broken(Judge):
        def report(self, reports: Sequence[Report]) -> Awaitable[tuple[Change | None, ...]]:
            failures.append(len(reports))
            raise ArithmeticError("of ours")

    told: list[BaseException] = []
    failures: list[int] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(context["exception"]))
    breakers.ended(passage(Broken(), RATE, "broken"), SUCCESS, 0.0)
    await eventually(lambda: failures)
    breakers.ended(passage(judge, RATE, "well"), SUCCESS, 0.0)
    await eventually(lambda: judge.commands)
    await breakers.close()
    assert judge.commands == [[Report(Guard(RATE, "well"), 0, 0, 1)]]
    await eventually(lambda: told)
