"""A pause: the longest that was asked for, bounded, until somebody ends it. And so many calls more, counted down."""

from gateway.core.guards import Pausing, Standing, State
from gateway.core.guards.pause import MOST_LEFT, Pause

RULE = Pausing("erp", max_us=900)


def test_until_the_time_it_gave_and_not_a_microsecond_longer() -> None:
    pause, began = Pause().asked(RULE, 50, 1000)
    assert began
    assert pause.standing(RULE, 1000) == Standing(State.OPEN, 50)
    assert pause.standing(RULE, 1049) == Standing(State.OPEN, 1)
    assert pause.standing(RULE, 1050) == Standing()
    assert [pause.lives_us(RULE, now_us) for now_us in (1000, 1049, 1060)] == [50, 1, 0]
    assert pause.entered(RULE, 1050) == (pause, Standing())


def test_the_longest_wins() -> None:
    pause = Pause().asked(RULE, 50, 1000)[0]
    assert pause.asked(RULE, 20, 1010) == (Pause(1050), False)
    assert pause.asked(RULE, 60, 1010) == (Pause(1070), False)
    assert pause.asked(RULE, 1, 1050) == (Pause(1051), True)


def test_never_longer_than_the_most_even_after_a_clock_step() -> None:
    pause = Pause().asked(RULE, 10**12, 1000)[0]
    assert pause == Pause(1900)
    assert pause.settled(RULE, 1000) == pause
    assert pause.settled(RULE, 10) == Pause(910)
    assert pause.asked(RULE, 5, 10) == (Pause(910), False)


def test_only_an_operator_ends_it_early() -> None:
    pause = Pause().asked(RULE, 50, 1000)[0]
    assert pause.asked(RULE, 0, 1010) == (Pause(), False)


class TestWhatIsLeft:
    def test_is_counted_down_call_by_call_and_then_holds_until_the_time_it_gave(self) -> None:
        pause, began = Pause().asked(RULE, 50, 1000, left=2)
        assert (pause, began) == (Pause(0, 2, 1050), False)
        pause, first = pause.entered(RULE, 1010)
        pause, last = pause.entered(RULE, 1020)
        assert (first, last) == (Standing(probe=2), Standing(probe=1))
        assert pause.standing(RULE, 1020) == Standing(State.OPEN, 30)
        assert pause.entered(RULE, 1020)[0] == pause
        assert pause.standing(RULE, 1050) == Standing()

    def test_is_only_corrected_downwards_until_then(self) -> None:
        pause = Pause().asked(RULE, 50, 1000, left=5)[0]
        assert pause.asked(RULE, 80, 1049, left=9) == (pause, False)
        assert pause.asked(RULE, 80, 1049, left=3) == (Pause(0, 3, 1050), False)
        assert pause.asked(RULE, 80, 1050, left=9) == (Pause(0, 9, 1130), False)

    def test_and_a_pause_hold_both(self) -> None:
        pause, began = Pause().asked(RULE, 50, 1000, left=1)[0].asked(RULE, 20, 1000)
        assert (pause, began) == (Pause(1020, 1, 1050), True)
        assert pause.standing(RULE, 1000) == Standing(State.OPEN, 20)
        pause, permit = pause.entered(RULE, 1020)
        assert permit == Standing(probe=1)
        assert pause.standing(RULE, 1020) == Standing(State.OPEN, 30)
        assert pause.asked(RULE, 5, 1020) == (Pause(1025, 0, 1050), True)
        assert pause.asked(RULE, 5, 1060) == (Pause(1065), True)

    def test_is_forgotten_with_its_time_bounded_and_ended_by_an_operator(self) -> None:
        pause = Pause().asked(RULE, 10**12, 1000, left=10**12)[0]
        assert pause == Pause(0, MOST_LEFT, 1900)
        assert [pause.lives_us(RULE, now_us) for now_us in (1000, 1899, 2000)] == [900, 1, 0]
        assert pause.settled(RULE, 10) == Pause(0, MOST_LEFT, 910)
        assert pause.asked(RULE, 0, 1010) == (Pause(), False)
