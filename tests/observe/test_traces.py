"""What a call's spans say, and that sending them never gets into the way. Without the SDK."""

import threading
from collections.abc import Sequence

import pytest

from gateway.core.http.trace import outer_span
from gateway.observe.log.formats import Otel
from gateway.observe.log.line import call_line
from gateway.observe.trace import sink as traces
from gateway.observe.trace.sink import BATCH, MOST_WAITING, Spans
from gateway.observe.trace.spans import Span, spans_of
from gateway.record import CallRecord
from tests.observe.conftest import finished_call


def spans(record: CallRecord) -> list[Span]:
    return spans_of(record, Otel().flat(call_line(record, with_query=False)))


def sampled_call() -> CallRecord:
    record = finished_call()
    record.trace_flags = "01"
    return record


def test_a_call_with_one_attempt(call: CallRecord) -> None:
    call.parent_span_id = "b7ad6b7169203331"
    own, attempt = spans(call)
    assert (own.span_id, own.parent_id) == (outer_span(call.span_id), "b7ad6b7169203331")
    assert (attempt.span_id, attempt.parent_id) == (call.span_id, own.span_id)
    assert (own.began, own.ended) == (call.started, call.ended)
    assert (attempt.began, attempt.ended) == (pytest.approx(1000.0025), call.ended)
    assert (own.name, attempt.name) == ("GET erp", "GET")
    assert '"name":"tenant-10m"' in str(own.attributes["gateway.limits"])
    assert attempt.attributes["server.port"] == 443
    assert all(isinstance(value, str | int | float) for value in own.attributes.values())


def test_attempts_follow_each_other_and_end_with_the_call(call: CallRecord) -> None:
    call.attempts = [
        {"n": 1, "error_class": "timeout", "upstream_ms": 4.0},
        {"n": 2, "status": 503, "error_class": "server_error", "upstream_ms": 1.0, "wait_ms": 2.0, "span_id": "a" * 16},
        {"n": 3, "status": 200, "upstream_ms": 1.0, "wait_ms": 0.5, "span_id": "b" * 16},
    ]
    call.upstream_s, call.retry_wait_s = 0.0065, 0.0025
    own, *tries = spans(call)
    assert [span.span_id for span in tries] == [call.span_id, "a" * 16, "b" * 16]
    assert {span.parent_id for span in tries} == {own.span_id}
    assert [round((span.began - 1000) * 1e3, 3) for span in tries] == [3.5, 9.5, 11.0]
    assert [round((span.ended - 1000) * 1e3, 3) for span in tries] == [7.5, 10.5, 12.5]
    assert [span.failed for span in tries] == [True, True, False]
    assert [span.attributes.get("error.type") for span in tries] == ["timeout", "server_error", None]
    assert "gateway.attempts" not in own.attributes


def test_waiting_for_a_turn_is_no_part_of_an_attempt(call: CallRecord) -> None:
    call.queue_s = 0.002
    _, attempt = spans(call)
    assert (attempt.began, attempt.ended) == (pytest.approx(call.ended - call.upstream_s), call.ended)
    call.attempts = [
        {"n": 1, "status": 503, "error_class": "server_error", "upstream_ms": 1.0},
        {"n": 2, "status": 200, "upstream_ms": 2.0, "wait_ms": 0.5, "queue_ms": 1.5, "span_id": "b" * 16},
    ]
    call.upstream_s, call.retry_wait_s, call.queue_s = 0.003, 0.0005, 0.004
    _, *tries = spans(call)
    assert [round((call.ended - span.began) * 1e3, 3) for span in tries] == [5.0, 2.0]


def test_what_never_reached_the_upstream_is_no_attempt(call: CallRecord) -> None:
    """There was no place for it, at once or when it was tried again; or a sandbox answered."""
    call.upstream_status, call.error_class, call.upstream_s = 0, "busy", 0.0001
    (own,) = spans(call)
    assert own.span_id == call.span_id
    call.attempts = [
        {"n": 1, "status": 503, "error_class": "server_error", "upstream_ms": 0.05},
        {"n": 2, "error_class": "busy", "upstream_ms": 0.05, "wait_ms": 0.5, "span_id": "b" * 16},
    ]
    own, attempt = spans(call)
    assert (attempt.span_id, attempt.parent_id) == (call.span_id, own.span_id)
    call.attempts, call.error_class, call.response_source = None, "", "sandbox"
    (own,) = spans(call)


def test_an_attempt_whose_caller_broke_its_body_off_says_so(call: CallRecord) -> None:
    call.upstream_status, call.status = 0, 400
    own, attempt = spans(call)
    assert (attempt.attributes["error.type"], attempt.failed, own.failed) == ("client_error", True, False)


def test_text_that_no_encoder_takes(call: CallRecord) -> None:
    call.target, call.http_host, call.method = "/\udce9\ud800", "[::1]:8080", "BREW"
    own, attempt = spans(call)
    str(own.attributes).encode()
    assert (own.attributes["server.address"], own.attributes["server.port"]) == ("::1", 8080)
    assert own.attributes["http.request.method"] == attempt.attributes["http.request.method"] == "_OTHER"
    assert own.attributes["http.request.method_original"] == "BREW"


def test_only_calls_of_recorded_traces_are_taken_and_no_more_than_can_wait() -> None:
    sink = Spans(lambda _spans: True, lambda _name, _lost: None)  # never started
    sink.emit(finished_call())
    assert not sink._waiting
    for _ in range(MOST_WAITING + 7):
        sink.emit(sampled_call())
    assert len(sink._waiting) == MOST_WAITING
    assert sink.counts == {"queue_full": 7}


def test_a_call_that_cannot_be_told_of_costs_nobody_else_anything() -> None:
    sent: list[str] = []

    def export(some: Sequence[tuple[str, Span]]) -> bool:
        sent.extend(span.name for _, span in some if span.server)
        return True

    spans = Spans(export, lambda _name, _lost: None)
    spans.start()
    broken, last = sampled_call(), sampled_call()
    broken.decision = last.method  # type: ignore[assignment]  # a defect somewhere
    for call in (broken, last):
        spans.emit(call)
    spans.close()
    assert sent == ["GET erp"]
    assert spans.counts == {"failed": 1, "sent": 1}


def test_what_is_left_is_sent_at_the_end_and_what_is_hidden_is_not_told() -> None:
    sent: list[tuple[str, Span]] = []

    def export(spans: Sequence[tuple[str, Span]]) -> bool:
        sent.extend(spans)
        return True

    sink = Spans(export, lambda _name, _lost: None, redact={"query", "tenant"})
    for _ in range(BATCH + 1):
        sink.emit(sampled_call())
    sink.start()
    sink.close()
    assert sink.counts == {"sent": BATCH + 1}
    assert len(sent) == 2 * (BATCH + 1)
    assert not any("gateway.tenant" in span.attributes or "s3cret" in str(span) for _, span in sent)


@pytest.mark.parametrize("gives_up", [True, False])
def test_a_collector_that_never_answers_is_given_up_at_the_end(monkeypatch: pytest.MonkeyPatch, gives_up: bool) -> None:
    """What is lost with it is counted by then, whether or not the sending can be ended."""
    monkeypatch.setattr(traces, "FLUSH_S", 0.05)
    gone, entered = threading.Event(), threading.Event()

    def export(_spans: Sequence[tuple[str, Span]]) -> bool:
        entered.set()
        gone.wait()
        return False

    sink = Spans(export, lambda _name, _lost: None, abandon=lambda: gone.set() if gives_up else None)
    for _ in range(BATCH + 3):
        sink.emit(sampled_call())
    sink.start()
    entered.wait()
    sink.close()
    assert sink.counts == {"failed": BATCH + 3}
    gone.set()
    sink._thread.join()
    assert sink.counts == {"failed": BATCH + 3}


def test_each_change_is_told_once() -> None:
    answers = iter((False, False, True, True, False))
    told: list[tuple[str, int]] = []
    sink = Spans(lambda _spans: next(answers), lambda name, lost: told.append((name, lost)))
    for _ in range(5):
        sink._send([sampled_call()])
    assert told == [("traces.failed", 1), ("traces.recovered", 2), ("traces.failed", 3)]
