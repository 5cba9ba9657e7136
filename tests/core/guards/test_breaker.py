"""The breaker, step by step: tables of what three well-known ones document, and what only this one has.

A story is a list of (seconds, what happens, state afterwards). `ok` and `fail` are a call that asks and then reports;
`slow` one that is right but late; `refused` one that is not let in; `start x` and `end x` a call that takes its time.
"""

from dataclasses import replace

import pytest

from gateway.core.guards import Breaker, Change, Guard, Reason, Report, Standing, State, longest
from gateway.core.guards.breaker import LOOK_AGAIN_US, MAX_FORCED_US, REMEMBERED_US, Circuit
from gateway.core.guards.tallies import MAX_COUNT, Tallies

SECOND = 1_000_000
START = 1_764_000_000 * SECOND
CLOSED, OPEN, HALF_OPEN = State.CLOSED, State.OPEN, State.HALF_OPEN

GOBREAKER = Breaker("gobreaker", ("c",), consecutive_failures=6, open_us=60 * SECOND, permit_us=60 * SECOND)
"""Its defaults: more than 5 failures in a row, 60 s, one probe, one success."""

CUSTOM = Breaker(
    "custom",
    ("c",),
    window_us=30 * SECOND,
    minimum_calls=3,
    failure_ppm=600_000,
    open_us=90 * SECOND,
    half_open_calls=3,
    close_after=3,
)
"""gobreaker's example: 3 calls of which 60 % failed, over ten parts of 3 s."""

RESILIENCE = Breaker(
    "resilience4j",
    ("c",),
    window_us=50 * SECOND,
    minimum_calls=5,
    failure_ppm=500_000,
    slow_ppm=500_000,
    slow_us=4 * SECOND,
    open_us=5 * SECOND,
    half_open_calls=4,
    close_after=4,
)

ENVOY = Breaker(
    "envoy", ("c",), consecutive_failures=5, open_us=30 * SECOND, growth_milli=2000, max_open_us=300 * SECOND
)
"""Its defaults of outlier detection, but here the time doubles where Envoy adds it once more for each ejection."""

PYBREAKER = Breaker("pybreaker", ("c",), consecutive_failures=3, open_us=60 * SECOND)
STRICTER = Breaker("success_threshold", ("c",), consecutive_failures=3, open_us=60 * SECOND, close_after=3)


class Story:
    """One breaker, and calls that ask and report at given seconds."""

    def __init__(self, breaker: Breaker) -> None:
        self.breaker = breaker
        self.circuit = Circuit()
        self.now_us = START
        self.calls: dict[str, Standing] = {}
        self.changes: list[Change] = []

    def enter(self) -> Standing:
        self.circuit = self.circuit.settled(self.breaker, self.now_us)
        standing = self.circuit.standing(self.breaker, self.now_us)
        if not standing.wait_us:
            self.circuit, standing = self.circuit.entered(self.breaker, self.now_us)
        return standing

    def report(
        self, call: Standing, passed: int = 0, failed: int = 0, slow: int = 0, longer_us: int = 0
    ) -> Change | None:
        report = Report(Guard(self.breaker, "k"), call.generation, call.probe, passed, failed, slow, longer_us)
        self.circuit, change = self.circuit.reported(self.breaker, report, self.now_us)
        if change is not None:
            self.changes.append(change)
        return change

    def at(self, seconds: float) -> "Story":
        self.now_us = START + round(seconds * SECOND)
        return self

    def tell(self, *steps: tuple[float, str, State]) -> None:
        for seconds, what, state in steps:
            self.at(seconds)
            getattr(self, what.split()[0])(*what.split()[1:])
            assert self.circuit.state is state, (seconds, what)

    def ok(self, times: str = "1") -> None:
        for _ in range(int(times)):
            assert self.report_of_a_call(passed=1)

    def fail(self, times: str = "1") -> None:
        for _ in range(int(times)):
            assert self.report_of_a_call(failed=1)

    def slow(self) -> None:
        assert self.report_of_a_call(passed=1, slow=1)

    def report_of_a_call(self, **counts: int) -> bool:
        call = self.enter()
        self.report(call, **counts)
        return not call.wait_us

    def refused(self) -> None:
        assert self.enter().wait_us > 0

    def start(self, name: str) -> None:
        self.calls[name] = self.enter()
        assert not self.calls[name].wait_us

    def end(self, name: str, how: str = "ok") -> None:
        self.report(self.calls.pop(name), passed=how == "ok", failed=how == "fail")


STORIES = {
    "gobreaker: failures in a row, and a failed probe": (
        GOBREAKER,
        [
            (0, "fail 5", CLOSED),
            (0, "ok", CLOSED),
            (0, "fail 5", CLOSED),
            (0, "fail", OPEN),
            (0, "refused", OPEN),
            (59.999999, "refused", OPEN),
            (60, "fail", OPEN),
            (119, "refused", OPEN),
            (120, "ok", CLOSED),
            (120, "fail 5", CLOSED),
        ],
    ),
    "gobreaker: a share of the calls, and three probes": (
        CUSTOM,
        [
            *[(0, what, CLOSED) for what in ("ok", "fail") * 5],
            (26, "ok", CLOSED),
            (30, "fail", CLOSED),
            (32, "fail", OPEN),
            (122, "ok 2", HALF_OPEN),
            (122, "start last", HALF_OPEN),
            (122, "start more", HALF_OPEN),
            (122, "start most", HALF_OPEN),
            (122, "refused", HALF_OPEN),
            (123, "end last", CLOSED),
            (124, "end more fail", CLOSED),
            (125, "end most", CLOSED),
        ],
    ),
    "gobreaker: outcomes of an earlier generation": (
        GOBREAKER,
        [
            (0, "start early", CLOSED),
            (0, "start bad", CLOSED),
            (0, "start late", CLOSED),
            (0, "fail 6", OPEN),
            (1, "end early", OPEN),
            (2, "end bad fail", OPEN),
            (60, "start probe", HALF_OPEN),
            (60, "end late fail", HALF_OPEN),
            (61, "end probe", CLOSED),
        ],
    ),
    "resilience4j: the call that fills the minimum opens it, though it passed": (
        RESILIENCE,
        [(0, "fail 3", CLOSED), (0, "ok", CLOSED), (0, "ok", OPEN), (0, "refused", OPEN)],
    ),
    "resilience4j: below the minimum nothing happens": (RESILIENCE, [(0, "fail 4", CLOSED)]),
    "resilience4j: slow calls": (
        RESILIENCE,
        [(0, "slow", CLOSED), (0, "slow", CLOSED), (0, "ok 2", CLOSED), (0, "slow", OPEN)],
    ),
    "resilience4j: waits five seconds, then lets four in": (
        RESILIENCE,
        [
            (0, "fail 4", CLOSED),
            (0, "fail", OPEN),
            (3, "refused", OPEN),
            (5, "start a", HALF_OPEN),
            (5, "start b", HALF_OPEN),
            (5, "start c", HALF_OPEN),
            (5, "start d", HALF_OPEN),
            (5, "refused", HALF_OPEN),
            (6, "end a", HALF_OPEN),
            (6, "start e", HALF_OPEN),
            (6, "refused", HALF_OPEN),
            (7, "end b", HALF_OPEN),
            (7, "end c", HALF_OPEN),
            (7, "end d", CLOSED),
        ],
    ),
    "resilience4j: an ignored outcome gives its permit back and says nothing": (
        RESILIENCE,
        [
            (0, "fail 4", CLOSED),
            (0, "fail", OPEN),
            *[(5, f"start {name}", HALF_OPEN) for name in "abcd"],
            (5, "refused", HALF_OPEN),
            (6, "end a ignored", HALF_OPEN),
            (6, "start e", HALF_OPEN),
            (6, "refused", HALF_OPEN),
        ],
    ),
    "resilience4j: a slow probe opens it again": (
        RESILIENCE,
        [(0, "fail 4", CLOSED), (0, "fail", OPEN), (5, "slow", OPEN)],
    ),
    "pybreaker: a success forgets the failures before it": (
        PYBREAKER,
        [(0, "fail", CLOSED), (0, "ok", CLOSED), (0, "fail 2", CLOSED), (0, "ok", CLOSED), (0, "fail 2", CLOSED)],
    ),
    "pybreaker: several failed calls, none while it is open, and a failed one after the time-out": (
        PYBREAKER,
        [
            (0, "fail 2", CLOSED),
            (0, "fail", OPEN),
            (0, "refused", OPEN),
            (59.9, "refused", OPEN),
            (60, "fail", OPEN),
            (60, "refused", OPEN),
            (120, "fail", OPEN),
            (179.9, "refused", OPEN),
        ],
    ),
    "pybreaker: a success after the time-out closes it, with its count at nothing": (
        PYBREAKER,
        [(0, "fail 3", OPEN), (60, "ok", CLOSED), (60, "fail 2", CLOSED), (60, "ok", CLOSED)],
    ),
    "pybreaker: of callers that come together after the time-out one is let in": (
        PYBREAKER,
        [
            (0, "fail 3", OPEN),
            (60, "start first", HALF_OPEN),
            *[(60, "refused", HALF_OPEN)] * 50,
            (61, "end first", CLOSED),
        ],
    ),
    "pybreaker: as many successes as are asked for, in a row": (
        STRICTER,
        [
            (0, "fail 3", OPEN),
            (60, "ok", HALF_OPEN),
            (60, "ok", HALF_OPEN),
            (60, "fail", OPEN),
            (120, "ok", HALF_OPEN),
            (120, "ok", HALF_OPEN),
            (120, "ok", CLOSED),
        ],
    ),
    "envoy: five in a row, for longer each time, never longer than the most": (
        ENVOY,
        [
            (0, "fail 4", CLOSED),
            (0, "fail", OPEN),
            (29.9, "refused", OPEN),
            (30, "fail", OPEN),
            (89.9, "refused", OPEN),
            (90, "fail", OPEN),
            (209.9, "refused", OPEN),
            (210, "fail", OPEN),
            (449.9, "refused", OPEN),
            (450, "fail", OPEN),
            (749.9, "refused", OPEN),
            (750, "fail", OPEN),
            (1049.9, "refused", OPEN),
            (1050, "ok", CLOSED),
            (1050, "fail 4", CLOSED),
            (1050, "fail", OPEN),
            (1079.9, "refused", OPEN),
            (1080, "ok", CLOSED),
        ],
    ),
}


@pytest.mark.parametrize("name", STORIES)
def test_the_states_go_as_the_story_says(name: str) -> None:
    breaker, steps = STORIES[name]
    Story(breaker).tell(*steps)


def opened(breaker: Breaker = GOBREAKER) -> Story:
    story = Story(breaker)
    story.fail(str(breaker.consecutive_failures))
    assert story.circuit.state is OPEN
    return story


def test_each_change_says_why_and_what_it_judged_by() -> None:
    story = opened()
    story.at(60).fail()
    story.at(120).ok()
    assert story.changes == [
        Change(OPEN, Reason.CONSECUTIVE_FAILURES, 6, 6, 0, 60 * SECOND),
        Change(OPEN, Reason.PROBE_FAILED, 1, 1, 0, 60 * SECOND),
        Change(CLOSED, Reason.PROBES_SUCCEEDED, 1),
    ]
    rates = Story(RESILIENCE)
    rates.tell((0, "fail 3", CLOSED), (0, "slow", CLOSED), (0, "ok", OPEN))
    assert rates.changes == [Change(OPEN, Reason.FAILURE_RATE, 5, 3, 1, 5 * SECOND)]
    assert (rates.circuit.calls, rates.circuit.failed, rates.circuit.slow) == (5, 3, 1)


def test_a_clear_breaker_says_nothing_at_all() -> None:
    assert Circuit().standing(GOBREAKER, START) == Standing()
    assert Circuit().entered(GOBREAKER, START) == (Circuit(), Standing())
    assert Circuit().quiet
    assert Circuit().lives_us(GOBREAKER, START) == 0


def test_while_failures_are_remembered_a_success_is_urgent() -> None:
    story = Story(GOBREAKER)
    story.fail()
    assert story.enter() == Standing(urgent=True)
    assert not story.circuit.quiet
    story.ok()
    assert story.enter() == Standing()


def test_passed_calls_of_a_report_came_before_its_failed_ones() -> None:
    story = Story(GOBREAKER)
    story.report(Standing(), failed=5)
    story.report(Standing(), passed=100, failed=2)
    assert (story.circuit.state, story.circuit.in_a_row) == (CLOSED, 2)


def test_an_outcome_that_says_nothing_changes_nothing() -> None:
    story = Story(RESILIENCE)
    story.fail()
    before = story.circuit
    assert story.report(Standing()) is None
    assert story.circuit == before


def test_the_wait_is_until_the_next_probe() -> None:
    story = opened()
    assert story.at(20).enter() == Standing(OPEN, 40 * SECOND, 1)
    probe = story.at(60).enter()
    assert probe == Standing(HALF_OPEN, 0, 2, story.now_us + GOBREAKER.permit_us, urgent=True, moved=True)
    assert story.enter() == Standing(HALF_OPEN, LOOK_AGAIN_US, 2)
    assert story.at(119.75).enter() == Standing(HALF_OPEN, SECOND // 4, 2)


def test_a_probe_nobody_reports_is_given_up() -> None:
    story = opened()
    story.at(60).start("dies")
    story.tell((119.999999, "refused", HALF_OPEN), (120, "start next", HALF_OPEN), (121, "end next", CLOSED))
    assert not story.enter().moved


def test_a_probe_that_is_renewed_is_given_up_later() -> None:
    story = opened()
    probe = story.at(60).enter()
    story.at(110).report(probe, longer_us=50 * SECOND)
    assert story.circuit.probes == (story.now_us + 60 * SECOND,)
    story.report(probe._replace(probe=probe.probe + 50 * SECOND))
    assert story.circuit.probes == ()


def test_a_probe_that_was_given_up_still_counts_for_its_generation() -> None:
    story = opened()
    story.tell((60, "start slow", HALF_OPEN), (120, "start next", HALF_OPEN), (121, "end slow", CLOSED))


def test_probes_of_one_moment_have_names_of_their_own() -> None:
    story = opened(replace(GOBREAKER, half_open_calls=3, close_after=3))
    story.at(60)
    probes = [story.enter() for _ in range(3)]
    assert len({probe.probe for probe in probes}) == 3
    assert [probe.moved for probe in probes] == [True, False, False]
    story.report(probes[1], passed=1)
    assert story.circuit.probes == (probes[0].probe, probes[2].probe)
    story.report(probes[1]._replace(probe=1), passed=1)  # nobody's permit: counts, and takes none
    assert story.circuit.probes == (probes[0].probe, probes[2].probe)


def test_what_is_not_in_use_does_not_trip() -> None:
    for breaker, steps in [
        (replace(RESILIENCE, failure_ppm=0), ["fail 20", "ok 20"]),
        (replace(RESILIENCE, slow_ppm=0), ["slow"] * 20),
        (replace(GOBREAKER, consecutive_failures=0), ["fail 20"]),
    ]:
        Story(breaker).tell(*[(0, step, CLOSED) for step in steps])


def test_a_share_of_all_calls_is_reached_when_all_calls_are_so() -> None:
    for breaker, step in [
        (replace(RESILIENCE, failure_ppm=1_000_000, slow_ppm=0), "fail"),
        (replace(RESILIENCE, failure_ppm=0, slow_ppm=1_000_000), "slow"),
    ]:
        Story(breaker).tell(*[(0, step, CLOSED)] * 4, (0, step, OPEN))
        Story(breaker).tell((0, "ok", CLOSED), *[(0, step, CLOSED)] * 9)


def test_counts_are_bounded() -> None:
    story = Story(replace(GOBREAKER, consecutive_failures=2**30, failure_ppm=600_000, minimum_calls=2**31))
    for _ in range(3):
        story.report(Standing(), failed=2**31)
    assert story.circuit.in_a_row == MAX_COUNT
    assert story.circuit.tallies.totals() == (MAX_COUNT, MAX_COUNT, 0)


def test_the_window_forgets_part_by_part() -> None:
    tallies = Tallies().counting(30, 0, (1, 1, 0)).counting(30, 3, (1, 0, 1))
    assert tallies.totals() == (2, 1, 1)
    assert tallies.counting(30, 29, (1, 0, 0)).totals() == (3, 1, 1)
    assert tallies.counting(30, 30, (1, 0, 0)).totals() == (2, 0, 1)
    assert tallies.counting(30, 33, (1, 0, 0)).totals() == (1, 0, 0)
    assert tallies.counting(30, 3000, (1, 0, 0)).totals() == (1, 0, 0)
    assert tallies.counting(31, 4, (1, 0, 0)).totals() == (1, 0, 0)  # parts of another length: begins anew


def test_after_a_backward_step_the_window_goes_on_from_now() -> None:
    tallies = Tallies().counting(30, 6000, (1, 1, 0)).counting(30, 6015, (1, 0, 0)).counting(30, 600, (1, 0, 0))
    assert tallies.totals() == (3, 1, 0)
    assert tallies.counting(30, 615, (0, 0, 0)).totals() == (2, 0, 0)


def test_after_a_backward_step_it_is_open_no_longer_than_the_most() -> None:
    story = opened()
    assert story.at(-10_000).enter() == Standing(OPEN, GOBREAKER.max_open_us, 1)
    assert story.at(-10_000 + 299).enter() == Standing(OPEN, SECOND, 1)
    story.at(-10_000 + 300).start("probe")
    assert story.at(-20_000).enter() == Standing(HALF_OPEN, LOOK_AGAIN_US, 2)
    assert story.at(-20_000 + 61).enter().probe


def test_shorter_numbers_hold_at_once() -> None:
    story = opened()
    story.breaker = replace(GOBREAKER, max_open_us=SECOND)
    assert story.at(2).enter() == Standing(OPEN, SECOND, 1)
    assert story.at(3).enter().moved


class TestForced:
    def force(self, story: Story, state: State | None, seconds: int = 600) -> Change | None:
        story.circuit, change = story.circuit.forced(state, seconds * SECOND, story.now_us)
        return change

    def test_open_for_a_time_then_probes(self) -> None:
        story = Story(GOBREAKER)
        story.start("before")
        assert self.force(story, OPEN) == Change(OPEN, Reason.FORCED, wait_us=600 * SECOND)
        story.tell((1, "end before fail", OPEN), (599, "refused", OPEN), (600, "fail", OPEN), (659, "refused", OPEN))
        story.tell((660, "ok", CLOSED))

    def test_closed_for_a_time_whatever_comes(self) -> None:
        story = opened()
        assert self.force(story, CLOSED) == Change(CLOSED, Reason.FORCED)
        story.tell((0, "fail 100", CLOSED), (599, "fail 100", CLOSED), (600, "fail 5", CLOSED), (600, "fail", OPEN))

    def test_to_the_state_it_has_is_no_change_but_begins_a_generation(self) -> None:
        story = Story(GOBREAKER)
        story.at(-5).fail()
        assert self.force(story.at(0), CLOSED) is None
        assert (story.circuit.generation, story.circuit.in_a_row, story.circuit.since_us) == (1, 0, 0)

    def test_giving_back_what_was_open_lets_a_probe_in(self) -> None:
        story = Story(GOBREAKER)
        self.force(story, OPEN)
        assert self.force(story.at(1), None) is None
        story.tell((1, "ok", CLOSED))

    def test_giving_back_what_was_closed_lets_it_count(self) -> None:
        story = Story(GOBREAKER)
        self.force(story, CLOSED)
        self.force(story.at(1), None)
        story.tell((1, "fail 5", CLOSED), (1, "fail", OPEN))

    def test_giving_back_what_nobody_holds_changes_nothing(self) -> None:
        story = opened()
        before = story.circuit
        assert self.force(story, None) is None
        assert story.circuit == before
        story = Story(GOBREAKER)
        self.force(story, OPEN, 1)
        before = story.at(2).circuit
        self.force(story, None)
        assert story.circuit == before

    def test_never_longer_than_a_month_not_even_after_a_clock_step(self) -> None:
        story = Story(GOBREAKER)
        self.force(story, OPEN, 10**9)
        assert story.enter().wait_us == MAX_FORCED_US
        assert story.at(-(10**8)).enter().wait_us == MAX_FORCED_US


def test_how_long_it_is_remembered() -> None:
    story = Story(RESILIENCE)
    story.ok()
    assert story.circuit.lives_us(RESILIENCE, START) == RESILIENCE.window_us
    story.tell((0, "fail 3", CLOSED), (0, "fail", OPEN))
    assert story.circuit.lives_us(RESILIENCE, START) == 5 * SECOND + REMEMBERED_US
    assert story.circuit.lives_us(RESILIENCE, START + 9 * SECOND) == REMEMBERED_US


def test_an_hour_after_it_closed_it_is_as_if_nothing_had_been() -> None:
    story = opened(replace(GOBREAKER, failure_ppm=900_000))
    story.tell((60, "start early", HALF_OPEN), (60, "end early", CLOSED), (3659, "ok", CLOSED))
    assert story.circuit.generation == 3
    assert story.circuit.lives_us(story.breaker, story.now_us) == REMEMBERED_US
    story.at(3660).start("between")
    story.tell((3660, "ok", CLOSED), (3661, "end between fail", CLOSED))
    assert (story.circuit.generation, story.circuit.in_a_row) == (0, 0)
    assert story.circuit.quiet
    story.fail("6")
    assert (story.circuit.state, story.circuit.generation) == (OPEN, 1)


def test_of_several_the_longest_wait_holds() -> None:
    assert longest([]) == -1
    assert longest([Standing(), Standing(generation=3)]) == -1
    assert longest([Standing(), Standing(OPEN, 5), Standing(OPEN, 7), Standing(OPEN, 7)]) == 2
