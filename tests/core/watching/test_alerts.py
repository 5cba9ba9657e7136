"""When an upstream gives reason to wake somebody, and when no longer."""

import pytest

from gateway.core.watching.alerts import Seen, Thresholds, denied, failing

TENTH = Thresholds(error_rate=0.1, auth_failures=3)
NEVER = Thresholds()


@pytest.mark.parametrize(
    ("seen", "before", "after"),
    [
        (Seen(), False, False),
        (Seen(19, 19), False, False),
        (Seen(20, 1), False, False),
        (Seen(20, 2), False, True),
        (Seen(20, 2), True, True),
        (Seen(20, 1), True, False),
        (Seen(1, 1), True, True),
        (Seen(0, 0), True, False),
    ],
)
def test_too_many_fail(seen: Seen, before: bool, after: bool) -> None:
    assert failing(TENTH, seen, before=before) is after
    assert failing(NEVER, seen, before=before) is False


def test_a_rate_of_nothing_is_no_reason_while_nothing_fails() -> None:
    assert failing(Thresholds(error_rate=0.0), Seen(100, 0), before=False) is False


@pytest.mark.parametrize(
    ("count", "before", "after"), [(2, False, False), (3, False, True), (1, True, True), (0, True, False)]
)
def test_too_many_are_denied(count: int, before: bool, after: bool) -> None:
    assert denied(TENTH, Seen(9, 0, count), before=before) is after
    assert denied(NEVER, Seen(9, 0, count), before=before) is False


def test_what_has_been_added() -> None:
    assert Seen(10, 5, 2).since(Seen(4, 3, 2)) == Seen(6, 2, 0)


def test_whether_there_is_anything_to_look_for() -> None:
    assert (NEVER.any, TENTH.any, Thresholds(error_rate=0.0).any) == (False, True, True)
