"""How upstreams did in the last ten seconds: what workers say, and what it is added up to."""

import pytest

from gateway.admin.operations.status import added_up
from gateway.observe.metrics.sink import Metrics
from tests.observe.conftest import POLICIES, finished_call


def beat(metrics: Metrics, now_s: float) -> None:
    metrics.pour()
    metrics.pulse.beat(now_s, now_s)


def answered(metrics: Metrics, status: int, upstream: str = "erp-api", wait_s: float = 0.01) -> None:
    call = finished_call()
    call.status = call.upstream_status = status
    call.upstream, call.upstream_s = upstream, wait_s
    metrics.emit(call)


def not_answered(metrics: Metrics, error: str) -> None:
    call = finished_call()
    call.status, call.upstream_status, call.response_source = 502, 0, "gateway"
    call.code, call.error_class = "UPSTREAM_UNREACHABLE", error
    metrics.emit(call)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(POLICIES)


def test_each_upstream_is_told_with_why_it_failed(metrics: Metrics) -> None:
    answered(metrics, 503)
    beat(metrics, 0.0)  # what was before does not count
    for _ in range(3):
        not_answered(metrics, "connect")
    answered(metrics, 503)
    answered(metrics, 200)
    answered(metrics, 401, "crm", wait_s=2.0)
    beat(metrics, 10.0)
    erp, crm = added_up([metrics.pulse.lately()])["upstreams"]
    assert (erp["upstream"], erp["calls"], erp["failed"], erp["denied"]) == ("erp-api", 5, 4, 0)
    assert (erp["calls_per_s"], erp["why"]) == (0.5, {"connect": 3, "503": 1})
    assert (erp["latency"]["count"], erp["latency"]["mean_ms"]) == (2, 10.0)
    assert (crm["upstream"], crm["failed"], crm["denied"], crm["why"]) == ("crm", 0, 1, {})
    assert crm["latency"]["mean_ms"] == 2000.0


def test_who_was_not_asked_has_not_failed(metrics: Metrics) -> None:
    """Answers of our own say nothing about the upstream of the call's route."""
    beat(metrics, 0.0)
    for status, code in ((504, "NOT_CACHED"), (503, "CREDENTIALS_UNAVAILABLE"), (503, "GATEWAY_BUSY"), (503, "")):
        call = finished_call()
        call.status, call.upstream_status, call.response_source, call.code = status, 0, "gateway", code
        metrics.emit(call)
    beat(metrics, 10.0)
    assert added_up([metrics.pulse.lately()])["upstreams"] == []


def test_what_the_cache_hides_from_callers_is_told(metrics: Metrics) -> None:
    """An old answer took the place of a 503, of none, and of what a breaker held back; and one was confirmed."""
    beat(metrics, 0.0)
    for upstream_status, error, how in (
        (503, "server_error", "error"),
        (0, "connect", "error"),
        (0, "", "error"),
        (304, "", "validated"),
    ):
        call = finished_call()
        call.status, call.response_source, call.cache = 200, "cache", how
        call.upstream_status, call.error_class = upstream_status, error
        metrics.emit(call)
    beat(metrics, 10.0)
    (erp,) = added_up([metrics.pulse.lately()])["upstreams"]
    assert (erp["calls"], erp["failed"], erp["why"]) == (3, 2, {"503": 1, "connect": 1})
    assert metrics.text("")[0].count(b'gateway_upstream_errors_total{error="connect",upstream="erp-api"} 1.0') == 1


def test_what_stands_for_too_many_calls_is_neither_a_failure_nor_a_refusal_of_credentials(metrics: Metrics) -> None:
    beat(metrics, 0.0)
    for status in (403, 503):
        call = finished_call()
        call.status, call.upstream_status, call.judged_status = status, status, 429
        metrics.emit(call)
    beat(metrics, 1.0)
    (erp,) = added_up([metrics.pulse.lately()])["upstreams"]
    assert (erp["calls"], erp["failed"], erp["denied"], erp["why"]) == (2, 0, 0, {})
    asked = [line for line in metrics.text("")[0].decode().splitlines() if "upstream_requests_total{" in line]
    assert asked == ['gateway_upstream_requests_total{code="429",upstream="erp-api"} 2.0']


def test_all_upstreams_together_are_the_stage(metrics: Metrics) -> None:
    beat(metrics, 0.0)
    answered(metrics, 200)
    answered(metrics, 200, "crm", wait_s=0.03)
    beat(metrics, 1.0)
    assert added_up([metrics.pulse.lately()])["latency"]["upstream"]["mean_ms"] == 20.0


def test_workers_are_added_up_and_the_worst_comes_first() -> None:
    workers = [Metrics(POLICIES), Metrics(POLICIES, worker=1)]
    for metrics in workers:
        beat(metrics, 0.0)
        for _ in range(5):
            answered(metrics, 200)
    answered(workers[0], 500, "crm")
    not_answered(workers[1], "timeout")
    answered(workers[1], 502, "crm")
    for metrics in workers:
        beat(metrics, 5.0)
    found = added_up([metrics.pulse.lately() for metrics in workers])["upstreams"]
    assert [(one["upstream"], one["calls"], one["failed"]) for one in found] == [("crm", 2, 2), ("erp-api", 11, 1)]
    assert [one["why"] for one in found] == [{"500": 1, "502": 1}, {"timeout": 1}]
    assert found[1]["latency"]["count"] == 10


def test_nobody_asked_nobody_is_told(metrics: Metrics) -> None:
    assert added_up([metrics.pulse.lately()])["upstreams"] == []
    answered(metrics, 200)
    beat(metrics, 0.0)
    beat(metrics, 20.0)
    assert added_up([metrics.pulse.lately()])["upstreams"] == []
