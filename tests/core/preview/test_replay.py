"""Virtual time: the player decides as `decide` does, and what happens between calls happens in time."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.algorithms import State
from gateway.core.ask import Ask
from gateway.core.decision import decide
from gateway.core.limits import Charge, ChargePer, Limit, Mode
from gateway.core.measure import Measure, Source
from gateway.core.preview import replay
from gateway.core.preview.replay import Player
from tests.core.limit_cases import bucket, concurrency, fixed, rolling
from tests.fakes.examples import as_many

LIMITS = st.one_of(
    st.builds(rolling, st.integers(1, 6), st.integers(1, 60)),
    st.builds(bucket, st.integers(1, 6), st.integers(1, 3), st.integers(1, 20)),
    st.builds(fixed, st.integers(1, 6), st.integers(1, 60)),
    st.builds(concurrency, st.integers(1, 6), st.integers(1, 60)),
)
CHARGES = st.lists(
    st.builds(
        lambda limit, mode, cost: Charge(replace(limit, mode=mode), limit.name, cost),
        LIMITS,
        st.sampled_from([Mode.ENFORCE, Mode.ENFORCE, Mode.SHADOW]),
        st.integers(1, 8),
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda charge: charge.key,
)


@given(
    st.lists(CHARGES, min_size=1, max_size=3), st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9)), max_size=40)
)
@settings(max_examples=as_many(200))
def test_it_decides_as_the_gateway_does(questions: list[list[Charge]], calls: list[tuple[int, int]]) -> None:
    player, asks = Player(), [Ask(charges) for charges in questions]
    states: dict[str, State | None] = {}
    now_us = 1_000
    for number, (which, after_us) in enumerate(calls):
        ask, lease = asks[which % len(asks)], str(number)
        now_us += after_us
        decision, after = decide(ask.charges, [states.get(one.key) for one in ask.charges], now_us, lease)
        states.update(zip((one.key for one in ask.charges), after, strict=True))
        judged = player.judge(ask, now_us, lease)
        assert judged.admitted == decision.admitted
        lacking = [one.limit for one, said in zip(ask.charges, decision.verdicts, strict=True) if not said.admitted]
        assert list(judged.lacking) == lacking


def judged(player: Player, limit: Limit, now_us: int, lease: str = "") -> bool:
    return player.judge(Ask([Charge(limit, "k", 1)]), now_us, lease).admitted


def test_slots_come_back_when_calls_end() -> None:
    player, ask = Player(), Ask([Charge(concurrency(1, 1_000), "k", 1)])
    first = player.judge(ask, 10, "a")
    player.ends(ask, first, "a", 10, 30)
    assert not player.judge(ask, 29, "b").admitted
    assert player.judge(ask, 30, "c").admitted


MEASURES = {"r": Measure(Source.HEADER, "x-cost"), "r.shadow": Measure(Source.HEADER, "x-cost")}


@pytest.mark.parametrize(("real", "left"), [(1, 4), (5, 0), (3, 2)])
def test_what_a_call_really_cost_is_put_right_when_it_ends(real: int, left: int) -> None:
    limit = rolling(5, 1_000, shadow=replace(rolling(2, 1_000), name="r.shadow", mode=Mode.SHADOW))
    assert limit.shadow is not None
    player, ask = Player(), Ask([Charge(limit, "k", 3), Charge(limit.shadow, "s", 3)], measures=MEASURES)
    first = player.judge(ask, 10, "a")
    player.ends(ask, first, "a", 10, 20, [("r", real)])
    admitted = [judged(player, rolling(5, 1_000), 20 + number) for number in range(6)]
    assert admitted == [True] * left + [False] * (6 - left)


def test_what_was_given_back_cost_nothing_of_any_limit_but_those_that_had_no_room() -> None:
    full = replace(rolling(2, 1_000), name="full", mode=Mode.SHADOW)
    player, ask = Player(), Ask([Charge(rolling(5, 1_000), "k", 3), Charge(full, "s", 2)])
    first = player.judge(ask, 10, "a")
    player.ends(ask, first, "a", 10, 20, given_back=True)
    again = player.judge(ask, 30, "b")
    assert (again.admitted, again.lacking) == (True, ())
    assert player.judge(ask, 40, "c").lacking


def test_what_was_not_charged_is_not_put_right() -> None:
    full = replace(rolling(1, 1_000), mode=Mode.SHADOW)
    player, ask = Player(), Ask([Charge(full, "k", 1)], measures=MEASURES)
    player.judge(ask, 1, "a")
    lacking = player.judge(ask, 2, "b")
    player.ends(ask, lacking, "b", 2, 3, [("r", 9)])
    player.ends(ask, lacking, "b", 2, 3)
    assert not judged(player, rolling(1, 1_000), 900)
    assert judged(player, rolling(1, 1_000), 1_001)


def test_further_attempts_are_charged_where_attempts_count() -> None:
    ask = Ask(
        [
            Charge(rolling(2, 1_000, charge=ChargePer.ATTEMPT), "k", 1),
            Charge(bucket(9), "b", 1),
            Charge(concurrency(9, charge=ChargePer.ATTEMPT), "c", 1),
        ]
    )
    player = Player()
    assert player.judge(ask, 10, "a").admitted
    player.later(ask, 20, "a")
    assert not player.judge(ask, 20, "b").admitted
    player = Player()
    plain = Ask([Charge(bucket(9), "b", 1)])
    assert player.judge(plain, 10, "a").admitted
    player.later(plain, 20, "a")
    assert len(player) == 1


def test_partitions_that_say_nothing_any_more_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "SWEEP_FROM", 2)
    player = Player()
    player._sweep_at = 2
    slots = Ask([Charge(concurrency(1, 50), "slot", 1)])
    held = player.judge(slots, 0, "a")
    player.ends(slots, held, "a", 0, 500)
    counted = Ask([Charge(rolling(2, 50), "k", 1)], measures=MEASURES)
    player.ends(counted, player.judge(counted, 0, "b"), "b", 0, 500, [("r", 2)])
    assert player.judge(Ask([Charge(rolling(1, 50), "other", 1)]), 100, "c").admitted
    assert len(player) == 1
    assert player.judge(slots, 600, "d").admitted
    for number in range(5):
        assert player.judge(Ask([Charge(rolling(9, 50), "other", 1)]), 601 + number, "e").admitted
    assert len(player) <= 3
