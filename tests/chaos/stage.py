"""What is judged of a gateway whose store meets a fault, whatever the fault."""

from collections.abc import Callable
from typing import Any

from tests.chaos.outage import Outage

WORKERS = 4

Stage = Callable[..., Any]


def survived(outage: Outage, *, forgotten: int = 0, partly: bool = False, unreplicated: int = 0) -> None:
    """What every fault has to leave true. See `Outage.stayed_within_limits`."""
    outage.nobody_saw_an_error()
    outage.stayed_within_limits(forgotten=forgotten, partly=partly, unreplicated=unreplicated)
    outage.is_over()
    assert outage.events("store.degraded") == outage.events("store.recovered")


def survived_without_store(outage: Outage, *, forgotten: int = 0) -> None:
    """What a fault in which no decision can be had has to leave true besides."""
    survived(outage, forgotten=forgotten)
    outage.nothing_passed_unchecked()
    outage.nobody_was_told_guesses()
    outage.cost_one_timeout_each()
    assert WORKERS <= outage.events("store.degraded") <= 2 * WORKERS  # told when it changes, not with each call
