"""Rate-limit fields: valid structured fields, honest numbers."""

from collections.abc import Sequence

import http_sf
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.algorithms import State
from gateway.core.ask import Ask
from gateway.core.decision import decide
from gateway.core.headers import (
    FieldWriter,
    refusing,
    retry_after_s,
    seconds_to_more,
    surely_refused_us,
    tightest,
    too_little_sentence,
    used_up_sentence,
    visible,
)
from gateway.core.limits import Algorithm, Charge, Decision, Limit, Mode, Verdict

WINDOW = Limit("tenant-10m", Algorithm.ROLLING_WINDOW, 500, 600_000_000, ("tenant",))
BUCKET = Limit("connection.1m_x", Algorithm.TOKEN_BUCKET, 20, 20_000_000, ("connection",), rate=1, per_us=1_000_000)
SLOTS = Limit("parallel", Algorithm.CONCURRENCY, 8, 60_000_000, ("connection",))
SHADOW = Limit("tighter", Algorithm.ROLLING_WINDOW, 5, 1_000_000, ("tenant",), mode=Mode.SHADOW)
WRITER = FieldWriter(draft=True, legacy=True, epoch_reset=False)


def parse(lines: bytes) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in lines.decode().split("\r\n") if line)


def verdict(remaining: int = 5, *, admitted: bool = True, more_us: int = 1, retry_us: int = 0) -> Verdict:
    return Verdict(admitted, remaining, 10_000_000, more_us, retry_us)


def test_the_documented_example() -> None:
    asked = Ask([Charge(WINDOW, "a", 1), Charge(SHADOW, "b", 1), Charge(BUCKET, "c", 1)])
    answers = [verdict(0, admitted=False, more_us=40_000_001), verdict(1), verdict(7)]
    assert parse(WRITER.lines(asked, answers)) == {
        "RateLimit-Policy": '"tenant-10m";q=500;w=600, "connection.1m_x";q=20;w=20',
        "RateLimit": '"tenant-10m";r=0;t=41, "connection.1m_x";r=7;t=7',
        "X-RateLimit-Limit": "500",
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": "41",
    }


verdicts = st.builds(
    Verdict, st.booleans(), st.integers(0, 500), st.integers(0, 2**50), st.integers(0, 2**50), st.integers(0, 2**50)
)


@given(st.lists(st.tuples(st.sampled_from([WINDOW, BUCKET, SLOTS]), verdicts), min_size=1, max_size=4))
def test_fields_parse_as_structured_fields(pairs: list[tuple[Limit, Verdict]]) -> None:
    charges = [Charge(limit, "k", 1) for limit, _ in pairs]
    decision = Decision(True, tuple(v for _, v in pairs), 0)
    lines = parse(WRITER.lines(Ask(charges), decision.verdicts))
    legacy, v = pairs[tightest(Ask(charges).kind, decision.verdicts)]
    reset_s = seconds_to_more(legacy, v) if v.admitted else retry_after_s(charges, decision)
    told = (lines["X-RateLimit-Limit"], lines["X-RateLimit-Remaining"], lines["X-RateLimit-Reset"])
    assert told == (str(legacy.quota), str(v.remaining), str(reset_s))
    policy = http_sf.parse(lines["RateLimit-Policy"].encode(), tltype="list")
    state = http_sf.parse(lines["RateLimit"].encode(), tltype="list")
    assert [item[0] for item in policy] == [item[0] for item in state] == [limit.name for limit, _ in pairs]
    for (limit, v), (_, parameters), (_, numbers) in zip(pairs, policy, state, strict=True):
        assert parameters["q"] == limit.quota
        assert ("w" in parameters) == (limit.algorithm is not Algorithm.CONCURRENCY)
        assert numbers["r"] == v.remaining
        assert numbers["t"] >= 1


BOTH = [
    Limit("window", Algorithm.ROLLING_WINDOW, 7, 20_000_000, ()),
    Limit("bucket", Algorithm.TOKEN_BUCKET, 5, 12_500_000, (), rate=2, per_us=5_000_000),
    Limit("rough", Algorithm.ROLLING_WINDOW, 9, 30_000_000, (), quantum_us=3_000_000),
    Limit("fixed", Algorithm.FIXED_WINDOW, 6, 15_000_000, ()),
]
steps = st.lists(st.tuples(st.integers(0, 6_000_000), st.integers(1, 5)), min_size=1, max_size=40)


@given(steps)
def test_who_waits_exactly_retry_after_gets_in_and_who_comes_a_second_earlier_does_not(
    calls: list[tuple[int, int]],
) -> None:
    now_us = 1_700_000_000_000_000
    states: Sequence[State | None] = [None] * len(BOTH)
    for wait_us, cost in calls:
        now_us += wait_us
        charges = [Charge(limit, limit.name, cost) for limit in BOTH]
        decision, states = decide(charges, states, now_us, "")
        if not decision.admitted:
            wait_s = retry_after_s(charges, decision)
            assert decide(charges, states, now_us + wait_s * 1_000_000, "", commit=False)[0].admitted
            assert (
                wait_s == 1
                or not decide(charges, states, now_us + (wait_s - 1) * 1_000_000, "", commit=False)[0].admitted
            )
            for state in visible(charges, decision):
                assert state.verdict.admitted or state.more_s <= wait_s


@given(steps, st.lists(st.tuples(st.integers(0, 3_000_000), st.integers(1, 5)), max_size=20), st.integers(1, 5))
def test_a_refusal_holds_for_as_long_as_it_surely_does_whatever_others_do(
    before: list[tuple[int, int]], others: list[tuple[int, int]], cost: int
) -> None:
    now_us = 1_700_000_000_000_000
    states: Sequence[State | None] = [None] * len(BOTH)
    for wait_us, units in before:
        now_us += wait_us
        _, states = decide([Charge(limit, limit.name, units) for limit in BOTH], states, now_us, "")
    charges = [Charge(limit, limit.name, cost) for limit in BOTH]
    decision, states = decide(charges, states, now_us, "")
    until_us = now_us + surely_refused_us(charges, decision)
    assert decision.admitted == (until_us == now_us)
    kind = Ask(charges).kind
    at_fault = set(refusing(kind, decision.verdicts))
    for wait_us, units in others:
        now_us += wait_us
        if now_us >= until_us:
            break
        _, states = decide([Charge(limit, limit.name, units) for limit in BOTH], states, now_us, "")
        assert at_fault <= set(refusing(kind, decide(charges, states, now_us, "", commit=False)[0].verdicts))


def test_slots_promise_nothing() -> None:
    charges = [Charge(WINDOW, "a", 1), Charge(SLOTS, "b", 1)]
    refused = verdict(0, admitted=False, retry_us=5)
    assert surely_refused_us(charges, Decision(False, (refused, verdict()), 0)) == 5
    assert surely_refused_us(charges, Decision(False, (refused, refused), 0)) == 0


@given(st.integers(0, 500), st.integers(0, 600_000_000))
def test_a_client_that_spends_r_within_t_stays_below_the_policy_rate(remaining: int, more_us: int) -> None:
    t = seconds_to_more(WINDOW, verdict(remaining, more_us=more_us))
    assert remaining * 600 <= t * 500
    assert t * 1_000_000 >= more_us


def test_concurrency_waits_are_short() -> None:
    assert seconds_to_more(SLOTS, verdict(0, more_us=60_000_000)) == 1


def test_shadow_limits_are_never_visible() -> None:
    charges = [Charge(SHADOW, "a", 1), Charge(WINDOW, "b", 1)]
    decision = Decision(False, (verdict(0, admitted=False), verdict(0, admitted=False, retry_us=1_500_000)), 0)
    assert [state.limit.name for state in visible(charges, decision)] == ["tenant-10m"]
    assert refusing(Ask(charges).kind, decision.verdicts) == [1]
    assert retry_after_s(charges, decision) == 2


def test_retry_after_is_the_longest_wait_of_all_violated_limits() -> None:
    charges = [Charge(WINDOW, "a", 1), Charge(BUCKET, "b", 1), Charge(BUCKET, "c", 1)]
    refused = verdict(0, admitted=False, retry_us=40_000_001)
    also = verdict(0, admitted=False, retry_us=3)
    assert retry_after_s(charges, Decision(False, (refused, also, verdict(3)), 0)) == 41
    assert retry_after_s(charges, Decision(True, (verdict(), verdict(), verdict()), 0)) == 1


LATER = verdict(0, admitted=False, retry_us=9_000_000)
SOON = verdict(0, admitted=False, retry_us=2_000_000)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ([(BUCKET, verdict(4)), (BUCKET, verdict(3))], 1),
        ([(BUCKET, verdict(3)), (WINDOW, verdict(3)), (BUCKET, verdict(4))], 1),  # as much: the longer window
        ([(SLOTS, verdict(0)), (WINDOW, verdict(400))], 1),  # the last slot is this call's own
        ([(SLOTS, verdict(3)), (SLOTS, verdict(2))], 1),
        ([(SHADOW, LATER), (WINDOW, verdict(1)), (BUCKET, verdict(2))], 0),
        ([(SHADOW, verdict(1))], -1),
        ([(WINDOW, SOON), (BUCKET, LATER)], 1),  # refused: the longest wait
        ([(WINDOW, verdict(0)), (BUCKET, verdict(3, admitted=False, retry_us=9_000_000))], 1),
        ([(WINDOW, verdict(1)), (SLOTS, verdict(0, admitted=False, retry_us=1_000_000))], 1),
        ([(SLOTS, verdict(0, admitted=False, retry_us=1_000_000)), (BUCKET, SOON)], 1),
    ],
)
def test_one_limit_stands_for_all(asked: list[tuple[Limit, Verdict]], told: int) -> None:
    """Counted among the enforced ones."""
    kind = Ask([Charge(limit, str(at), 1) for at, (limit, _) in enumerate(asked)]).kind
    assert tightest(kind, [answer for _, answer in asked]) == told


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ([(WINDOW, verdict()), (BUCKET, verdict())], []),
        ([(WINDOW, verdict()), (SHADOW, LATER), (BUCKET, SOON)], [2]),
        ([(WINDOW, SOON), (SHADOW, LATER), (BUCKET, SOON), (BUCKET, LATER)], [3, 0, 2]),
        ([(BUCKET, SOON), (WINDOW, SOON)], [1, 0]),  # as long: the longer window
    ],
)
def test_of_limits_that_refuse_the_one_that_lets_the_call_wait_longest_is_told_first(
    asked: list[tuple[Limit, Verdict]], told: list[int]
) -> None:
    kind = Ask([Charge(limit, str(at), 1) for at, (limit, _) in enumerate(asked)]).kind
    assert refusing(kind, [answer for _, answer in asked]) == told


def test_field_families_are_a_choice() -> None:
    asked, answers = Ask([Charge(WINDOW, "a", 1)]), [verdict(3, more_us=6_000_001)]
    assert WRITER.lines(Ask([Charge(SHADOW, "a", 1)]), answers) == b""
    legacy = FieldWriter(draft=False, legacy=True, epoch_reset=False)
    assert set(parse(legacy.lines(asked, answers))) == {
        "X-RateLimit-Limit",
        "X-RateLimit-Remaining",
        "X-RateLimit-Reset",
    }
    assert set(parse(WRITER.lines(asked, answers, hide_legacy=True))) == {"RateLimit", "RateLimit-Policy"}
    assert WRITER.nothing_left(7, 1_800_000_000.5) == b"X-RateLimit-Remaining: 0\r\nX-RateLimit-Reset: 7\r\n"
    epoch = FieldWriter(draft=False, legacy=True, epoch_reset=True)
    assert epoch.nothing_left(7, 1_800_000_000.5).endswith(b"X-RateLimit-Reset: 1800000008\r\n")
    assert FieldWriter(draft=True, legacy=False, epoch_reset=True).nothing_left(7, 0.0) == b""
    assert parse(epoch.lines(asked, answers, epoch_s=1_800_000_000))["X-RateLimit-Reset"] == "1800000007"


@pytest.mark.parametrize(
    ("limit", "text"),
    [
        (WINDOW, "Limit tenant-10m (500 per 600 s) is used up."),
        (BUCKET, "Limit connection.1m_x (1 per 1 s, burst 20) is used up."),
        (SLOTS, "Limit parallel (8 at once) is used up."),
    ],
)
def test_detail_names_the_rule(limit: Limit, text: str) -> None:
    assert used_up_sentence(limit) == text
    assert too_little_sentence(limit) == text.replace(" is used up.", " has less left than this call costs.")
