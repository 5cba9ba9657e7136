"""What an attempt says about its connection, by the default error classes and by a policy's own."""

import pytest

from gateway.core.classes import DEFAULT, Classes, Counts, ErrorClass, Rule
from gateway.core.connections.outcome import Outcome, Outcomes
from gateway.core.connections.state import ConnectionState
from gateway.core.guards import Breaker

OWN = Classes(
    (
        Rule(ErrorClass("expired", retry=False, condition=ConnectionState.AUTH_REQUIRED), {400}),
        Rule(ErrorClass("maintenance", condition=ConnectionState.OFFLINE), {503}),
        Rule(ErrorClass("slow_down", pause="connection"), {420}),
        Rule(ErrorClass("shaky", condition=ConnectionState.DEGRADED), {500}),
        Rule(ErrorClass("gone", breaker=Counts.FAILURE), {410}),
        Rule(ErrorClass("fine", condition=ConnectionState.ONLINE), {409}, ("malformed",)),
        Rule(ErrorClass("ours"), (), ("timeout",)),
    )
)


@pytest.mark.parametrize(
    ("name", "status", "expected"),
    [
        ("", 200, Outcome.OK),
        ("", 304, Outcome.OK),
        ("", 0, None),
        ("client_error", 404, Outcome.REJECTED),
        ("auth_error", 401, Outcome.UNAUTHENTICATED),
        ("auth_error", 403, Outcome.FORBIDDEN),
        ("rate_limited", 429, Outcome.LIMITED),
        ("server_error", 500, Outcome.FAILED),
        ("", 403, Outcome.FORBIDDEN),
        ("", 502, Outcome.FAILED),
        ("connect", 0, Outcome.FAILED),
        ("timeout", 0, Outcome.FAILED),
        ("tls", 0, Outcome.FAILED),
        ("closed", 0, Outcome.FAILED),
        ("reset", 200, Outcome.FAILED),
        ("busy", 0, None),
        ("client_closed", 0, None),
        ("client_closed", 200, Outcome.OK),
        ("client_closed", 500, Outcome.FAILED),
        ("bad_request", 0, None),
    ],
)
def test_by_default(name: str, status: int, expected: Outcome | None) -> None:
    outcomes = Outcomes(DEFAULT)
    assert outcomes.of(name, status) is expected
    assert outcomes.of(name, status) is expected


@pytest.mark.parametrize(
    ("name", "status", "expected"),
    [
        ("expired", 400, Outcome.UNAUTHENTICATED),
        ("maintenance", 503, Outcome.DOWN),
        ("slow_down", 420, Outcome.LIMITED),
        ("shaky", 500, Outcome.FAILED),
        ("gone", 410, Outcome.FAILED),
        ("fine", 409, Outcome.REJECTED),
        ("fine", 0, Outcome.REJECTED),
        ("ours", 0, None),
        ("auth_error", 403, Outcome.FORBIDDEN),
        ("server_error", 502, Outcome.FAILED),
    ],
)
def test_by_a_policy(name: str, status: int, expected: Outcome | None) -> None:
    assert Outcomes(OWN).of(name, status) is expected


@pytest.mark.parametrize("name", ["token_refused", "token_unavailable"])
def test_a_call_for_which_there_was_no_token_says_that_credentials_are_needed(name: str) -> None:
    assert Outcomes(DEFAULT).of(name, 0) is Outcome.UNAUTHENTICATED


@pytest.mark.parametrize(
    ("key", "whole"),
    [((), True), (("tenant",), True), (("tenant", "connection"), True), (("connection", "operation"), False)],
)
def test_a_breaker_that_counts_by_more_shuts_a_part(key: tuple[str, ...], whole: bool) -> None:
    outcomes = Outcomes(DEFAULT, [Breaker("a", key)])
    assert outcomes.shut_by("a") is whole
    assert outcomes.shut_by("one that a reload took away")
