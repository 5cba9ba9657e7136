"""Every outcome has one class, and what the class means is what the policy language says."""

from typing import Any

import pytest

from gateway.core.classes import DEFAULT, KINDS, Classes, Counts, ErrorClass, Rule, statuses_of
from gateway.core.connections.state import ConnectionState
from gateway.core.problems import UPSTREAM_PROBLEMS


@pytest.mark.parametrize(
    ("status", "name", "retry", "breaker", "condition"),
    [
        (400, "client_error", True, Counts.IGNORE, None),
        (401, "auth_error", False, Counts.IGNORE, ConnectionState.AUTH_REQUIRED),
        (403, "auth_error", False, Counts.IGNORE, ConnectionState.PERMISSION_DENIED),
        (422, "client_error", True, Counts.IGNORE, None),
        (429, "rate_limited", True, Counts.IGNORE, ConnectionState.RATE_LIMITED),
        (500, "server_error", True, Counts.FAILURE, None),
        (599, "server_error", True, Counts.FAILURE, None),
        (999, "server_error", True, Counts.FAILURE, None),
    ],
)
def test_statuses_by_default(
    status: int, name: str, retry: bool, breaker: Counts, condition: ConnectionState | None
) -> None:
    assert DEFAULT.statuses[status] == ErrorClass(name, retry, breaker, "", condition)


@pytest.mark.parametrize("status", [100, 200, 204, 304, 399])
def test_successes_have_no_class(status: int) -> None:
    assert DEFAULT.statuses.get(status) is None


@pytest.mark.parametrize("error", [*UPSTREAM_PROBLEMS, "cut"])
def test_every_error_of_the_transport_has_a_class(error: str) -> None:
    error_class = DEFAULT.errors[error]
    assert error_class.breaker is (Counts.IGNORE if error == "busy" else Counts.FAILURE)
    assert error == "busy" or error in KINDS[error_class.name]


def test_only_what_comes_before_an_answer_is_reset_before_response() -> None:
    assert KINDS["reset"] - KINDS["reset_before_response"] == {"cut"}


def test_the_first_rule_that_fits_wins_and_defaults_fill_up() -> None:
    gone, server = ErrorClass("gone", retry=False), ErrorClass("server_error", breaker=Counts.SUCCESS)
    classes = Classes(
        [Rule(gone, statuses_of("502"), ("reset_before_response",)), Rule(server, statuses_of("5xx"), ("reset",))]
    )
    assert [classes.statuses[status] for status in (502, 503, 600)] == [gone, server, DEFAULT.statuses[600]]
    assert [classes.errors[error] for error in ("reset", "cut", "refused")] == [gone, server, DEFAULT.errors["refused"]]


def test_our_own_shortage_is_never_the_upstreams_fault() -> None:
    assert Classes([Rule(ErrorClass("all"), (), tuple(KINDS))]).errors["busy"] == ErrorClass("busy", retry=False)


def test_a_success_can_be_given_a_class() -> None:
    assert Classes([Rule(ErrorClass("odd"), statuses_of("2xx"))]).statuses[204].name == "odd"


def test_never_retried() -> None:
    assert DEFAULT.never_retried([200, 429, 403, 401]) == [401, 403]


@pytest.mark.parametrize(
    ("name", "status", "counts"),
    [
        ("", 0, Counts.IGNORE),  # never forwarded
        ("", 200, Counts.SUCCESS),
        ("", 503, Counts.FAILURE),
        ("server_error", 503, Counts.FAILURE),
        ("auth_error", 401, Counts.IGNORE),
        ("auth_error", 403, Counts.IGNORE),
        ("rate_limited", 429, Counts.IGNORE),
        ("connect", 0, Counts.FAILURE),
        ("closed", 0, Counts.FAILURE),  # the transport's word
        ("reset", 200, Counts.FAILURE),  # broke off inside the body
        ("client_closed", 0, Counts.IGNORE),
        ("client_closed", 200, Counts.SUCCESS),
        ("client_closed", 503, Counts.FAILURE),
        ("busy", 0, Counts.IGNORE),
    ],
)
def test_what_a_breaker_makes_of_it(name: str, status: int, counts: Counts) -> None:
    assert DEFAULT.counted(name, status) is counts


def test_a_policy_may_count_otherwise() -> None:
    classes = Classes(
        [
            Rule(ErrorClass("missing", breaker=Counts.SUCCESS), {404}),
            Rule(ErrorClass("down", breaker=Counts.IGNORE), {503}, ("connect",)),
        ]
    )
    counted = [("missing", 404), ("down", 503), ("down", 0), ("server_error", 500)]
    assert [classes.counted(*one) for one in counted] == [
        Counts.SUCCESS,
        Counts.IGNORE,
        Counts.IGNORE,
        Counts.FAILURE,
    ]


@pytest.mark.parametrize(
    ("own", "states"),
    [
        ({"retry": False}, ("auth_required", "permission_denied", "rate_limited")),
        ({"condition": ConnectionState.ONLINE}, ("online", "online", "online")),
        ({"condition": ConnectionState.AUTH_REQUIRED}, ("auth_required", "auth_required", "auth_required")),
        ({"pause": "connection"}, (None, None, None)),
        ({"breaker": Counts.FAILURE}, (None, None, None)),
        ({"breaker": Counts.SUCCESS}, (None, None, None)),
    ],
)
def test_a_class_that_says_nothing_of_the_connection_leaves_statuses_theirs(
    own: dict[str, Any], states: tuple[str | None, ...]
) -> None:
    classes = Classes([Rule(ErrorClass("mine", **own), statuses_of("4xx"))])
    assert tuple(classes.statuses[status].condition for status in (401, 403, 429)) == states
    assert classes.statuses[404].condition == own.get("condition")
