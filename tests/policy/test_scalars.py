"""Durations as other languages write them: what is said about them."""

import pytest

from gateway.policy.models.scalars import MAX_DURATION_US, Unfit, parse_duration


@pytest.mark.parametrize(
    ("text", "here"),
    [
        ("1m30s", "90s"),
        ("1h0m0s", "1h"),
        ("1d12h", "36h"),
        ("1w", "7d"),
        ("0.5s", "500ms"),
        ("1.5h", "90m"),
        ("1m500ms", "60500ms"),
    ],
)
def test_a_duration_of_another_language_is_told_how_it_is_written_here(text: str, here: str) -> None:
    with pytest.raises(Unfit) as unfit:
        parse_duration(text)
    assert unfit.value.context is not None
    assert unfit.value.context["hint"] == f"write {here}"
    assert 0 < parse_duration(here) <= MAX_DURATION_US


@pytest.mark.parametrize("text", ["0.0001ms", "1m30", "0w", "1.5", "s1m"])
def test_what_is_no_duration_anywhere_is_not_guessed_at(text: str) -> None:
    with pytest.raises(Unfit) as unfit:
        parse_duration(text)
    assert unfit.value.context is not None
    assert "write 0" not in unfit.value.context["hint"]
    assert not unfit.value.context["hint"].removeprefix("write ").startswith(tuple("123456789"))
