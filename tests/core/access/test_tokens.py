"""What answers of token endpoints mean, how long tokens serve, and how long a failing endpoint is left alone."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.access.hidden import Hidden
from gateway.core.access.tokens import (
    ASSUMED_LIFE_US,
    CHANCE,
    LONGEST_ASKED_US,
    LONGEST_LIFE_US,
    LONGEST_WAIT_US,
    REFUSED_WAIT_US,
    SECOND_US,
    Failure,
    Token,
    read_answer,
    renew_in_us,
    serves_us,
    wait_us,
)

GOOD = {"access_token": "abc", "token_type": "Bearer", "expires_in": 3600}


def test_a_good_answer() -> None:
    assert read_answer(200, GOOD) == Token(Hidden("abc"), 3600 * SECOND_US, Hidden(""))
    assert read_answer(200, {**GOOD, "refresh_token": "r"}) == Token(Hidden("abc"), 3600 * SECOND_US, Hidden("r"))
    assert "abc" not in repr(read_answer(200, GOOD))


@pytest.mark.parametrize("said", [{}, {"token_type": None}, {"token_type": "bEARER"}])
def test_a_token_of_no_type_is_a_bearer_token(said: dict[str, Any]) -> None:
    assert isinstance(read_answer(200, {"access_token": "abc", **said}), Token)


@pytest.mark.parametrize(
    ("said", "life_us"),
    [
        (None, ASSUMED_LIFE_US),
        ("3600", 3600 * SECOND_US),
        (1.5, 1_500_000 // SECOND_US * SECOND_US + 500_000),
        (10**30, LONGEST_LIFE_US),
        (float("inf"), LONGEST_LIFE_US),
        (0, 0),
        (-1, 0),
        (True, 0),
        ("soon", 0),
        ("9" * 30, 0),
        ("٣", 0),
        ([3600], 0),
    ],
)
def test_how_long_it_lives_is_believed_as_far_as_it_makes_sense(said: Any, life_us: int) -> None:
    answer = read_answer(200, {**GOOD, "expires_in": said})
    if life_us:
        assert isinstance(answer, Token)
        assert answer.life_us == life_us
    else:
        assert answer == Failure(False, "the answer has no usable expires_in")


@pytest.mark.parametrize(
    ("status", "document", "failure"),
    [
        (500, GOOD, Failure(False, "answered with status 500")),
        (408, None, Failure(False, "answered with status 408")),
        (200, None, Failure(False, "answered with status 200 and no JSON object")),
        (200, [GOOD], Failure(False, "answered with status 200 and no JSON object")),
        (204, GOOD, Failure(False, "answered with status 204")),
        (403, {}, Failure(True, "answered with status 403")),
        (400, {"error": "invalid_grant"}, Failure(True, "invalid_grant")),
        (200, {**GOOD, "error": "invalid_scope"}, Failure(True, "invalid_scope")),
        (400, {"error": "temporarily_unavailable"}, Failure(False, "temporarily_unavailable")),
        (400, {"error": "their s3cr3t"}, Failure(False, "answered with status 400")),
        (400, {"error": ["invalid_grant"]}, Failure(False, "answered with status 400")),
        (200, {**GOOD, "access_token": "a b"}, Failure(False, "the answer has no usable access_token")),
        (200, {**GOOD, "access_token": "a\r\nX: y"}, Failure(False, "the answer has no usable access_token")),
        (200, {**GOOD, "access_token": 1}, Failure(False, "the answer has no usable access_token")),
        (200, {**GOOD, "token_type": "mac"}, Failure(False, "the token is not a bearer token")),
        (200, {**GOOD, "token_type": 1}, Failure(False, "the token is not a bearer token")),
    ],
)
def test_other_answers(status: int, document: Any, failure: Failure) -> None:
    assert read_answer(status, document) == failure


def test_an_odd_refresh_token_is_none() -> None:
    for odd in (1, "a\tb", "\u00fc", "", None):
        answer = read_answer(200, {**GOOD, "refresh_token": odd})
        assert isinstance(answer, Token)
        assert not answer.refresh


def test_a_refresh_token_may_have_blanks() -> None:
    assert read_answer(200, {**GOOD, "refresh_token": " a b~"}) == Token(
        Hidden("abc"), 3600 * SECOND_US, Hidden(" a b~")
    )


def test_how_long_it_wants_to_be_left_alone() -> None:
    for said, asked_us in (("7", 7 * SECOND_US), ("99999", LONGEST_ASKED_US), ("", 0), ("soon", 0), ("999999", 0)):
        assert read_answer(503, None, said) == Failure(False, "answered with status 503", asked_us)
    assert wait_us(Failure(False, "", 90 * SECOND_US), 1, 0) == 90 * SECOND_US


@given(st.integers(1, LONGEST_LIFE_US), st.integers(0, CHANCE - 1))
def test_renewed_before_it_is_no_longer_shown_and_that_before_it_expires(life_us: int, chance: int) -> None:
    assert renew_in_us(life_us, chance) <= serves_us(life_us) <= life_us
    assert renew_in_us(life_us, chance) >= life_us * 7 // 10


@given(st.integers(1, 1000), st.integers(0, CHANCE - 1))
def test_a_failing_endpoint_is_asked_less_and_less_often(failures: int, chance: int) -> None:
    down = Failure(False, "")
    assert 0 < wait_us(down, failures, 0) <= wait_us(down, failures + 1, 0) <= LONGEST_WAIT_US
    assert wait_us(down, failures, 0) <= wait_us(down, failures, chance) <= LONGEST_WAIT_US * 5 // 4
    assert wait_us(Failure(True, ""), failures, chance) >= REFUSED_WAIT_US
