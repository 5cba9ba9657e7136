"""When a connection is in which state: the table of the rules, and what holds for every history."""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.core.connections.counts import BUCKET_US, MAX_ROWS, OTHER, WINDOW_US, Counts, Row, counted, totals
from gateway.core.connections.names import name_of
from gateway.core.connections.state import (
    HALF_LIFE_US,
    LEAST_WEIGHT,
    OFFLINE_AFTER_US,
    OFFLINE_FAILURES,
    OTHER_US,
    SAME_US,
    SECOND_US,
    WEIGHT,
    ConnectionState,
    Failure,
    Named,
    Report,
    Track,
    ends_by_itself_us,
    new_track,
    reported,
    settled,
    states_matching,
)
from gateway.core.keys import encode_part

START = 1_700_000_000_000_000
S = SECOND_US
OFFLINE, AUTH, DENIED, LIMITED, DEGRADED, ONLINE = ConnectionState


def ok(count: int = 1, *, operation: str = "read", began_us: int = 0) -> Report:
    """Successes that began so long ago and have just ended."""
    return Report((Row(operation, "", ok=count, began_us=began_us),), answer_us=began_us)


def rejected(count: int = 1) -> Report:
    return Report((Row("read", "", rejected=count),), answer_us=0)


def failed(count: int = 1, *, tail: int | None = None, age_us: int = 0) -> Report:
    """Failures, the last so long ago; with `tail` there was an answer before the last so many of them."""
    answer_us = -1 if tail is None else 0
    failure = Failure(age_us, "server_error", 503)
    rows = (Row("read", "", failed=count),)
    return Report(rows, failures=count, tail=count if tail is None else tail, answer_us=answer_us, failure=failure)


def mixed(answered: int, failures: int) -> Report:
    """Both, an answer last."""
    return Report((Row("read", "", ok=answered, failed=failures),), failures=failures, answer_us=0)


def refused(state: ConnectionState = AUTH, *, operation: str = "read", age_us: int = 0) -> Report:
    return Report(
        (Row(operation, "", failed=1),),
        answer_us=age_us,
        denied=state,
        denied_us=age_us,
        denied_operation=operation,
        failure=Failure(age_us, "auth_error", 401),
    )


def limited(for_us: int = 30 * S) -> Report:
    return Report((Row("read", "", failed=1),), answer_us=0, limited_us=for_us)


def shut(age_us: int = 0, by: str = "") -> Report:
    """Refused by this breaker; "" = what a policy calls offline."""
    return Report(shut=((by, age_us),))


def through(breaker: str, began_us: int = 0) -> Report:
    """A success that this breaker let through."""
    return ok(began_us=began_us)._replace(through=((breaker, began_us),))


def after(*steps: tuple[int, Report]) -> Track:
    """The track after reports, each so many microseconds after the one before."""
    track, now_us = new_track(START), START
    for wait_us, report in steps:
        now_us += wait_us
        track = reported(track, report, now_us)
    return track


HISTORIES: list[tuple[str, ConnectionState, list[tuple[int, Report]]]] = [
    ("nothing yet", ONLINE, []),
    ("a success", ONLINE, [(0, ok())]),
    ("requests that are at fault themselves", ONLINE, [(0, rejected(50))]),
    # degraded
    ("one failure is all there is", DEGRADED, [(0, failed())]),
    ("one failure of ten", DEGRADED, [(0, ok(9)), (S, failed())]),
    ("one failure of eleven", ONLINE, [(0, ok(10)), (S, failed())]),
    ("degraded stays at 5 %", DEGRADED, [(0, ok(9)), (S, failed()), (S, ok(10))]),
    ("degraded ends below 5 %", ONLINE, [(0, ok(9)), (S, failed()), (S, ok(11))]),
    ("requests at fault count as answered", ONLINE, [(0, rejected(10)), (S, failed())]),
    ("a failure a minute ago is recent", DEGRADED, [(0, failed()), (HALF_LIFE_US, ok(1))]),
    ("a failure two minutes ago is not", ONLINE, [(0, failed()), (2 * HALF_LIFE_US, Report())]),
    ("time has done its part before the report", ONLINE, [(0, failed()), (200 * S, mixed(11, 1))]),
    # offline
    ("failures in a row, never an answer", OFFLINE, [(0, failed(OFFLINE_FAILURES))]),
    ("one failure short of it", DEGRADED, [(0, failed(OFFLINE_FAILURES - 1))]),
    ("an answer in between breaks the row", DEGRADED, [(0, failed(4)), (OFFLINE_AFTER_US, failed(5, tail=4))]),
    ("a row, but an answer a moment ago", DEGRADED, [(0, ok()), (OFFLINE_AFTER_US - 1, failed(50))]),
    ("a row, and no answer for long enough", OFFLINE, [(0, ok()), (OFFLINE_AFTER_US, failed(5))]),
    ("the row goes on over reports", OFFLINE, [(0, ok()), (S, failed(4)), (OFFLINE_AFTER_US, failed(1))]),
    ("time alone takes nothing offline", DEGRADED, [(0, ok()), (S, failed(9)), (OFFLINE_AFTER_US, Report())]),
    ("the breaker refuses", OFFLINE, [(0, ok()), (0, shut())]),
    ("an answer ends it, with a clean slate", ONLINE, [(0, failed(9)), (S, ok())]),
    ("an answer that is no success ends it too", ONLINE, [(0, failed(9)), (S, rejected())]),
    ("a late success of before ends nothing", OFFLINE, [(0, shut()), (S, ok(began_us=2 * S))]),
    ("the probe ends it", ONLINE, [(0, shut()), (2 * S, ok(began_us=S))]),
    ("failures after the answer are recent again", DEGRADED, [(0, shut()), (2 * S, failed(2, tail=1))]),
    ("a refusal of before, reported late", ONLINE, [(0, shut()), (S, ok()), (S, shut(age_us=S + 1))]),
    ("a refusal of after", OFFLINE, [(0, shut()), (S, ok()), (S, shut(age_us=S))]),
    ("failures of before are no news, reported late", ONLINE, [(0, shut()), (S, ok()), (S, failed(3, age_us=2 * S))]),
    ("those of after are", DEGRADED, [(0, shut()), (S, ok()), (S, failed(3, age_us=S))]),
    ("a breaker refuses", OFFLINE, [(0, ok()), (0, shut(by="a"))]),
    ("what another one let through says nothing of it", OFFLINE, [(0, shut(by="a")), (S, through("b"))]),
    ("nor does what none did", OFFLINE, [(0, shut(by="a")), (OTHER_US - 1, ok())]),
    ("its own probe ends it", ONLINE, [(0, shut(by="a")), (S, through("b")), (S, through("a"))]),
    ("not one that began before", OFFLINE, [(0, shut(by="a")), (S, through("a", began_us=S))]),
    ("two refuse, and one no longer", OFFLINE, [(0, shut(by="a")), (0, shut(by="b")), (S, through("a"))]),
    ("neither does", ONLINE, [(0, shut(by="a")), (0, shut(by="b")), (S, through("a")), (S, through("b"))]),
    ("nobody calls there any more", ONLINE, [(0, shut(by="a")), (OTHER_US, ok())]),
    ("somebody does", OFFLINE, [(0, shut(by="a")), (S, shut(by="a")), (OTHER_US - 1, ok())]),
    ("it refused before it was passed", ONLINE, [(0, shut(by="a")), (S, through("a")), (0, shut(S, "a"))]),
    ("failures in a row are told beside it", OFFLINE, [(0, shut(by="a")), (0, failed(9)), (S, ok())]),
    ("and end with any answer", ONLINE, [(0, shut(by="a")), (0, failed(9)), (S, ok()), (S, through("a"))]),
    ("offline hides refused credentials", OFFLINE, [(0, refused()), (0, shut())]),
    ("refused credentials show that it is there", AUTH, [(0, failed(9)), (S, refused())]),
    # credentials
    ("401", AUTH, [(0, ok()), (S, refused(AUTH))]),
    ("403", DENIED, [(0, ok()), (S, refused(DENIED))]),
    ("the latest of both counts", DENIED, [(0, refused(AUTH)), (S, refused(DENIED))]),
    ("an older one that is reported late does not", DENIED, [(0, refused(DENIED)), (S, refused(AUTH, age_us=2 * S))]),
    ("a success too soon after", AUTH, [(0, refused()), (SAME_US - 1, ok())]),
    ("a success of the same operation", ONLINE, [(0, refused()), (SAME_US, ok())]),
    ("a success that began before", AUTH, [(0, refused()), (SAME_US, ok(began_us=1))]),
    ("a success of another operation", DENIED, [(0, refused(DENIED)), (SAME_US, ok(operation="write"))]),
    ("a minute later any success counts", ONLINE, [(0, refused(DENIED)), (OTHER_US, ok(operation="write"))]),
    ("an answer that is no success proves nothing", AUTH, [(0, refused()), (OTHER_US, rejected())]),
    ("failures do not hide it", AUTH, [(0, ok(50)), (0, refused()), (S, failed(2))]),
    ("it does not end by itself", AUTH, [(0, refused()), (WINDOW_US, Report())]),
    # limits of the upstream
    ("429", LIMITED, [(0, ok()), (S, limited(30 * S))]),
    ("a success does not end it", LIMITED, [(0, limited(30 * S)), (30 * S - 1, ok())]),
    ("the time it gave does", ONLINE, [(0, limited(30 * S)), (30 * S, Report())]),
    ("the longer one counts", LIMITED, [(0, limited(30 * S)), (S, limited(S)), (28 * S, Report())]),
    ("refused credentials are worse", AUTH, [(0, limited()), (0, refused())]),
    ("a few failures are not", LIMITED, [(0, limited()), (0, failed())]),
    ("what it hid is there when it ends", DEGRADED, [(0, failed()), (0, limited(S)), (S, Report())]),
]


@pytest.mark.parametrize(("state", "steps"), [history[1:] for history in HISTORIES], ids=[h[0] for h in HISTORIES])
def test_histories(state: ConnectionState, steps: list[tuple[int, Report]]) -> None:
    assert after(*steps).state is state


def test_since_is_when_the_state_began() -> None:
    assert after((5 * S, ok())).since_us == START
    assert after((5 * S, refused())).since_us == START + 5 * S
    assert after((5 * S, refused()), (S, refused())).since_us == START + 5 * S
    assert after((5 * S, refused()), (S, shut())).since_us == START + 6 * S


def test_the_latest_success_and_the_latest_failure_are_kept() -> None:
    track = after((S, Report((Row("a", "", ok=2, ended_us=400_000),), answer_us=S)))
    assert (track.success_us, track.failure.at_us) == (START + 600_000, -1)
    known = Failure(0, "server_error", 503, "r-1", "a", "x")
    track = reported(track, Report(failures=1, tail=1, failure=known), START + 2 * S)
    assert track.failure == known._replace(at_us=START + 2 * S)
    late = reported(track, Report(failure=Failure(5 * S, "timeout")), START + 3 * S)
    assert late.failure == track.failure
    assert late.success_us == START + 600_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("online", [ONLINE]),
        ("!online", [OFFLINE, AUTH, DENIED, LIMITED, DEGRADED]),
        ("degraded, offline", [OFFLINE, DEGRADED]),
        ("!online,!degraded", [OFFLINE, AUTH, DENIED, LIMITED]),
        ("offline,!offline", []),
        ("bad", None),
        ("!bad", None),
        ("", None),
        ("!", None),
    ],
)
def test_which_states_are_asked_for(text: str, expected: list[ConnectionState] | None) -> None:
    assert states_matching(text) == expected


def test_names_fit_for_people() -> None:
    assert name_of("acme", "conn/42 ä") == Named("acme", "conn/42 ä")
    assert name_of("", "caf\udce9 \ud800") == Named("", "caf\\udce9 \\ud800")
    long = name_of("acme", "x" * 129)
    assert long == Named("acme", encode_part("x" * 129))
    assert name_of(*long) == long


# Counts -------------------------------------------------------------------------------------------


def test_counts_of_a_window() -> None:
    buckets = counted(
        (), [Row("read", "item", ok=3), Row("read", "item", failed=1), Row("write", "", rejected=2)], START
    )
    buckets = counted(buckets, [Row("read", "item", ok=1), Row("idle", "")], START + BUCKET_US)
    assert totals(buckets) == {("read", "item"): Counts(4, 0, 1), ("write", ""): Counts(0, 2, 0)}
    later = counted(buckets, [], START + WINDOW_US)
    assert totals(later) == {("read", "item"): Counts(1, 0, 0)}
    assert counted(buckets, [], START + WINDOW_US + BUCKET_US) == ()


def test_a_clock_that_steps_back_loses_nothing() -> None:
    buckets = counted((), [Row("read", "", ok=1)], START)
    buckets = counted(buckets, [Row("read", "", ok=1)], START - 5 * BUCKET_US)
    assert len(buckets) == 1
    assert totals(buckets) == {("read", ""): Counts(2, 0, 0)}


def test_names_beyond_the_bound_are_counted_together() -> None:
    rows = [Row(f"op-{number}", "", ok=1) for number in range(MAX_ROWS + 9)]
    buckets = counted(counted((), rows, START), [Row("op-3", "", failed=1), Row("op-new", "", failed=1)], START)
    assert len(buckets[0].rows) == MAX_ROWS + 1
    assert buckets[0].rows[OTHER] == Counts(9, 0, 1)
    assert buckets[0].rows["op-3", ""] == Counts(1, 0, 1)


TROUBLES = {
    "offline": [(0, failed(5)), (11 * S, failed())],
    "denied": [(0, refused())],
    "refused by breakers": [(0, shut()), (S, shut(by="b"))],
    "limited": [(0, limited(90 * S))],
    "degraded": [(0, mixed(1, 9))],
}


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("step_us", [0, S, 100_000 * S, START + 20 * S])
def test_a_clock_that_steps_back_keeps_no_trouble_for_longer(trouble: str, step_us: int) -> None:
    """By a day, as when a host's clock was wrong, or beyond the beginning."""
    track = after(*TROUBLES[trouble])
    assert track.state is not ONLINE
    now_us = START + sum(wait_us for wait_us, _ in TROUBLES[trouble]) - step_us
    for _ in range(2):
        now_us += 100 * S
        track = reported(track, ok(1_000), now_us)
    assert track.state is ONLINE
    assert track.since_us <= now_us


# What holds for every history ---------------------------------------------------------------------

ages = st.integers(0, 20 * S)
names = st.sampled_from(["read", "write", ""])
breakers = st.sampled_from(["a", "b", ""])
rows = st.builds(
    Row,
    names,
    st.just("item"),
    ok=st.integers(0, 30),
    rejected=st.integers(0, 3),
    failed=st.integers(0, 9),
    began_us=ages,
    ended_us=ages,
)


@st.composite
def reports(draw: Any) -> Report:
    """Any report a worker could send, and some that none would."""
    denied = draw(st.sampled_from([None, None, None, AUTH, DENIED]))
    failures = draw(st.integers(0, 8))
    return Report(
        tuple(draw(st.lists(rows, max_size=3, unique_by=lambda row: row.operation))),
        failures,
        draw(st.integers(0, failures)),
        draw(st.one_of(st.just(-1), ages)),
        denied,
        -1 if denied is None else draw(ages),
        draw(names),
        "item",
        draw(st.sampled_from([0, 0, 0, S, 90 * S])),
        tuple(draw(st.lists(st.tuples(breakers, ages), max_size=2, unique_by=lambda one: one[0]))),
        tuple(draw(st.lists(st.tuples(breakers, ages), max_size=2, unique_by=lambda one: one[0]))),
        Failure(draw(st.sampled_from([-1, 0, S])), draw(st.sampled_from(["timeout", "server_error"])), 0, "r"),
    )


steps = st.lists(st.tuples(st.sampled_from([0, 1, S, 7 * S, HALF_LIFE_US, 3 * HALF_LIFE_US]), reports()), max_size=20)


@given(steps)
def test_every_state_has_its_reason(history: list[tuple[int, Report]]) -> None:
    track = after(*history)
    now_us = START + sum(wait_us for wait_us, _ in history)
    expected = (
        OFFLINE
        if track.offline_us >= 0 or track.shut
        else track.denied
        or (
            LIMITED
            if track.limited_until_us > now_us
            else track.state
            if track.failed_weight >= LEAST_WEIGHT
            else ONLINE
        )
    )
    assert track.state is expected
    assert START <= track.since_us <= now_us


@given(steps)
@example([(0, failed())])
@example([(0, limited(S))])
def test_time_alone_leads_to_online_or_nowhere(history: list[tuple[int, Report]]) -> None:
    track = after(*history)
    now_us = START + sum(wait_us for wait_us, _ in history)
    ends_us = ends_by_itself_us(track)
    if ends_us < 0:
        assert settled(track, now_us + 100 * WINDOW_US).state is track.state
        return
    assert track.state in (LIMITED, DEGRADED)
    assert settled(track, max(now_us, ends_us - 1)).state is track.state
    assert settled(track, max(now_us, ends_us)).state is not track.state
    assert settled(track, now_us + 100 * WINDOW_US).state is ONLINE


@given(steps, st.lists(st.integers(0, 3 * HALF_LIFE_US), max_size=5))
def test_looking_changes_nothing(history: list[tuple[int, Report]], looks: list[int]) -> None:
    """However often time is taken in between, the next report finds the same."""
    track = after(*history)
    now_us = START + sum(wait_us for wait_us, _ in history)
    end_us = now_us + sum(looks)
    looked = track
    for wait_us in looks:
        now_us += wait_us
        looked = settled(looked, now_us)
    assert settled(looked, end_us)._replace(since_us=0) == settled(track, end_us)._replace(since_us=0)


@given(steps)
def test_after_a_minute_of_successes_every_connection_is_online(history: list[tuple[int, Report]]) -> None:
    """Unless the upstream asked for a longer rest."""
    track = after(*history)
    now_us = max(START + sum(wait_us for wait_us, _ in history), track.limited_until_us) + OTHER_US
    assert reported(track, ok(20_000), now_us).state is ONLINE


def test_weights_stay_exact_numbers() -> None:
    """Doubles hold them in the other implementation: below 2^53 at a million attempts a second for ever."""
    assert 2 * WEIGHT * 1_000_000 * (HALF_LIFE_US // S) < 2**53
