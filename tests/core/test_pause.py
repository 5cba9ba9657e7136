"""A pause: the longest that was asked for, bounded, until somebody ends it."""

from gateway.core.guards import Pausing, Standing, State
from gateway.core.pause import Pause

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
