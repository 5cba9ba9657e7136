"""When an answer pauses its connection."""

import pytest

from gateway.core.classes import ErrorClass
from gateway.core.learning import pause_us
from gateway.core.policy import Learning
from gateway.core.signals import Honor

S = 1_000_000
LEARNING = Learning(tuple(Honor), "connection", 60 * S)
AWAIT = (b"Retry-After", b"30")


@pytest.mark.parametrize(
    ("status", "fields", "pauses", "wait_s"),
    [
        (429, [AWAIT], False, 30),
        (429, [], False, 0),
        (429, [(b"Retry-After", b"3600")], False, 60),
        (503, [AWAIT], False, 0),
        (503, [AWAIT], True, 30),
        (200, [(b"X-RateLimit-Remaining", b"0"), (b"X-RateLimit-Reset", b"7")], False, 7),
        (200, [(b"X-RateLimit-Remaining", b"1"), (b"X-RateLimit-Reset", b"7")], False, 0),
        (429, [(b"X-RateLimit-Remaining", b"5"), (b"X-RateLimit-Reset", b"7")], False, 0),
    ],
)
def test_pauses(status: int, fields: list[tuple[bytes, bytes]], pauses: bool, wait_s: int) -> None:
    error_class = ErrorClass("any", pause="connection" if pauses else "")
    assert pause_us(LEARNING, status, error_class, tuple(fields), 0) == wait_s * S


def test_only_families_that_are_learned_from() -> None:
    assert pause_us(Learning((Honor.RATELIMIT,), "connection"), 429, None, (AWAIT,), 0) == 0
