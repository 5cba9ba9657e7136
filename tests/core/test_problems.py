"""Problem bodies (RFC 9457)."""

import pytest

from gateway.core.problems import KEY_MISSING, RATE_LIMIT, UPSTREAM_PROBLEMS, Refusal, body_problem, document


def test_a_refusal_by_a_limit_says_everything() -> None:
    refusal = Refusal(RATE_LIMIT, "Limit tenant-10m (500 per 600 s) is used up.", "limit", 41, ("tenant-10m",))
    assert document(refusal, base="about:blank", request_id="01JD", connection_id="conn_42") == {
        "type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
        "title": "Quota exceeded",
        "status": 429,
        "detail": "Limit tenant-10m (500 per 600 s) is used up.",
        "instance": "urn:request:01JD",
        "violated-policies": ["tenant-10m"],
        "code": "RATE_LIMIT_EXCEEDED",
        "retry_after": 41,
        "request_id": "01JD",
        "connection_id": "conn_42",
    }


def test_own_types_hang_below_the_configured_base() -> None:
    refusal = Refusal(KEY_MISSING, "x")
    assert document(refusal, base="about:blank", request_id="1", connection_id="")["type"] == "about:blank"
    body = document(refusal, base="https://docs.example/problems/", request_id="1", connection_id="")
    assert body["type"] == "https://docs.example/problems/key-missing"
    assert "retry_after" not in body
    assert "connection_id" not in body
    assert "violated-policies" not in body


def test_every_upstream_failure_is_a_502_503_or_504() -> None:
    assert {kind.status for kind in UPSTREAM_PROBLEMS.values()} == {502, 503, 504}


@pytest.mark.parametrize(
    ("reason", "status", "code"),
    [
        ("malformed", 400, "BAD_REQUEST"),
        ("closed", 400, "BAD_REQUEST"),
        ("timeout", 408, "REQUEST_TIMEOUT"),
        ("too_large", 413, "CONTENT_TOO_LARGE"),
    ],
)
def test_what_is_wrong_with_a_request_body(reason: str, status: int, code: str) -> None:
    refusal = body_problem(reason)
    assert (refusal.kind.status, refusal.kind.code) == (status, code)
    assert refusal.source == "gateway"
