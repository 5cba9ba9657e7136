"""Guards and limits of a call decided together."""

from gateway.core.ask import NOTHING, Ask
from gateway.core.decision import decide_call, kept_for
from gateway.core.guards import MAX_OPEN_US, MAX_WINDOW_US, Breaker, Guard, Pausing, Standing, State, out_of_bounds
from gateway.core.guards.breaker import Circuit
from gateway.core.guards.pause import Pause
from gateway.core.limits import Algorithm, Charge, Decision, Limit

BREAKER = Guard(Breaker("b", ("c",), consecutive_failures=1, open_us=30), "breaker:b:{=c}")
PAUSE = Guard(Pausing("p", 100), "pause:p:{=c}")
ASK = Ask([Charge(Limit("l", Algorithm.FIXED_WINDOW, 1, 1000, ("k",)), "l:{=k}", 1)], [PAUSE, BREAKER], breaker=BREAKER)
OPEN = Circuit(State.OPEN, generation=1, until_us=130)


def test_what_nobody_knows_lets_everybody_through() -> None:
    decision, kept, states = decide_call(ASK, (None, None), (None,), 100, "")
    assert (decision.admitted, decision.standings) == (True, ())
    assert kept == (Pause(), Circuit())
    assert states != (None,)


def test_what_is_held_back_is_charged_nowhere() -> None:
    decision, kept, states = decide_call(ASK, (Pause(150), OPEN), (None,), 100, "")
    assert decision == Decision(False, (), 100, (Standing(State.OPEN, 50), Standing(State.OPEN, 30, 1)))
    assert (kept, states) == ((Pause(150), OPEN), (None,))


def test_a_peek_asks_the_limits_all_the_same_and_changes_nothing() -> None:
    decision, kept, states = decide_call(ASK, (None, OPEN), (None,), 100, "", commit=False)
    assert not decision.admitted
    assert decision.verdicts[0].admitted
    assert (kept, states[0]) == ((Pause(), OPEN), type(states[0])())


def test_only_who_is_admitted_becomes_a_probe() -> None:
    decision, kept, states = decide_call(ASK, (None, OPEN), (None,), 130, "")
    assert decision.standings[1].moved
    probing = kept[1]
    refused, kept, _ = decide_call(ASK, (None, OPEN), states, 130, "")
    assert (refused.admitted, refused.standings[1], kept[1]) == (False, Standing(State.OPEN, 0, 1), OPEN)
    assert probing != OPEN


def test_what_is_kept_of_another_kind_counts_as_nothing() -> None:
    assert kept_for(BREAKER, Pause(5)) == Circuit()
    assert kept_for(PAUSE, OPEN) == Pause()


def test_what_an_ask_says_of_itself() -> None:
    assert NOTHING.empty
    assert (ASK.empty, ASK.own) == (False, None)
    own = Ask((), [PAUSE], breaker=BREAKER)
    assert (own.empty, own.own) == (False, BREAKER)


def test_bounds_of_breakers() -> None:
    def problem(**numbers: int) -> str:
        return out_of_bounds(Breaker("b", (), **numbers)) or ""

    assert problem(window_us=MAX_WINDOW_US, growth_milli=100_000, half_open_calls=100, close_after=1_000_000) == ""
    assert "1h" in problem(window_us=MAX_WINDOW_US + 1)
    assert problem(max_open_us=MAX_OPEN_US) == ""
    assert "24h" in problem(open_us=MAX_OPEN_US + 1)
    assert "open_backoff" in problem(growth_milli=100_001)
    assert "half_open_calls" in problem(half_open_calls=101)
    assert "minimum_calls" in problem(minimum_calls=1_000_001)
