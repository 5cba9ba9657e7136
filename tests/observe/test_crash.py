"""Tracebacks say which error and where, and nothing that a caller sent; queries are logged without their secrets."""

import sys
from collections.abc import Callable

import pytest

from gateway.observe.log.chain import clean
from gateway.observe.log.crash import traceback_text
from gateway.observe.log.text import REDACTED, redact_query

SECRET = "s3cr3t"


def text_of(fail: Callable[[], object]) -> str:
    try:
        fail()
    except Exception:
        return traceback_text(sys.exc_info())
    raise AssertionError("it did not fail")


def raising(error: Exception) -> Callable[[], object]:
    def fail() -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    "fail",
    [
        lambda: dict[str, str]()[SECRET],
        lambda: int(SECRET),
        raising(ValueError(f"bad headers { ({'Authorization': SECRET})!r}")),
        raising(RuntimeError(f"unexpected \"{SECRET} it's")),
        raising(ValueError(f"never closed: '{SECRET}")),
    ],
)
def test_input_in_messages_is_left_out(fail: Callable[[], object]) -> None:
    text = text_of(fail)
    assert SECRET not in text
    assert "Error: " in text
    assert "test_crash.py" in text


def test_names_of_the_program_stay() -> None:
    assert text_of(lambda: "".nothing).endswith("AttributeError: 'str' object has no attribute 'nothing'")  # type: ignore[attr-defined]


def test_causes_come_first() -> None:
    def fail() -> None:
        try:
            int(SECRET)
        except ValueError as error:
            raise RuntimeError from error

    text = text_of(fail)
    assert text.index("ValueError: invalid literal") < text.index("which led to:") < text.index("RuntimeError")
    assert SECRET not in text


def test_an_error_that_cannot_say_what_it_is() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise ValueError(SECRET)

    assert text_of(raising(Mute())).endswith(".Mute")


def test_endless_causes_end() -> None:
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    assert text_of(raising(one)).count("Traceback") == 10


@pytest.mark.parametrize(
    ("query", "logged"),
    [
        ("a=1&token=s3cr3t&b=2", f"a=1&token={REDACTED}&b=2"),
        ("a=1;token=s3cr3t;b=2", f"a=1;token={REDACTED};b=2"),
        ("to%6ben=s3cr3t", f"to%6ben={REDACTED}"),
        ("next=https%3A%2F%2Fa%2F%3Fb%3D1%26access_token%3Ds3cr3t", f"next={REDACTED}"),
        ("next=https%253A%252F%252Fa%252F%253Fsig%253Ds3cr3t", f"next={REDACTED}"),
        ("next=https%3A%2F%2Fuser%3As3cr3t%40a%2F", f"next={REDACTED}"),
        ("next=https://user:s3cr3t@a/", f"next={REDACTED}"),
        ("filter=name=x&page=2&&=&x", "filter=name=x&page=2&&=&x"),
        ("mail=a@b.example&t=100%25", "mail=a@b.example&t=100%25"),
    ],
)
def test_secrets_in_queries(query: str, logged: str) -> None:
    assert redact_query(query) == logged


def test_an_event_says_which_credentials_it_is_about_and_nothing_else_of_them() -> None:
    line = {"credentials": "crm-1", "token": SECRET, "client_secret": SECRET, "changed": {"credentials": SECRET}}
    left = {"token": REDACTED, "client_secret": REDACTED, "changed": {"credentials": REDACTED}}
    assert clean(None, "", line) == {"credentials": "crm-1", **left}
