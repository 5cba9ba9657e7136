"""When webhooks are tried again."""

import pytest

from gateway.core.webhooks.redelivery import MAX_ASKED_US, Step, Tried, next_step, wait_us

S = 1_000_000
DAY_US = 86_400 * S


def test_waits_double_until_a_day_is_over() -> None:
    tried, age_us, waits = Tried(500), 0, []
    for tries in range(1, 100):
        step, wait = next_step(tried, tries, age_us, DAY_US)
        if step is Step.DEAD:
            break
        waits.append(wait // S)
        age_us += wait
    assert waits == [2**n for n in range(16)]
    assert age_us + wait_us(len(waits) + 1) > DAY_US


def test_a_wait_never_overflows() -> None:
    assert wait_us(10**9) == S << 40


@pytest.mark.parametrize("status", [200, 202, 204, 299])
def test_it_has_arrived(status: int) -> None:
    assert next_step(Tried(status), 1, DAY_US * 2, DAY_US) == (Step.DONE, 0)


def test_a_receiver_may_ask_for_more_time() -> None:
    assert next_step(Tried(503, asked_us=30 * S), 1, 0, DAY_US) == (Step.RETRY, 30 * S)
    assert next_step(Tried(429, asked_us=1), 3, 0, DAY_US) == (Step.RETRY, 4 * S)
    assert next_step(Tried(503, asked_us=DAY_US * 9), 1, 0, DAY_US) == (Step.RETRY, MAX_ASKED_US)


def test_gone_is_gone() -> None:
    assert next_step(Tried(410), 1, 0, DAY_US) == (Step.DEAD, 0)


@pytest.mark.parametrize(
    ("tried", "blamed"),
    [
        (Tried(error="timeout"), True),
        *((Tried(status), True) for status in (300, 301, 302, 401, 404, 410, 429, 500, 599)),
        *((Tried(status), False) for status in (200, 299, 400, 409, 422, 499)),
    ],
)
def test_who_is_to_blame(tried: Tried, blamed: bool) -> None:
    assert tried.blames_receiver is blamed


def test_in_words() -> None:
    assert (Tried(error="dns").in_words(), Tried(302).in_words()) == ("dns", "status 302")
