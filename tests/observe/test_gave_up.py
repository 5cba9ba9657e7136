"""What is told of calls that were tried again in vain."""

from dataclasses import replace
from typing import Any

import pytest

from gateway.core.retry import Retry, Stop
from gateway.observe.reports import gave_up as told
from gateway.record import CallRecord

RETRY = Retry("standard", 5)
ATTEMPTS = [{"n": n, "status": 503, "error_class": "server_error", "upstream_ms": 1.0} for n in (1, 2)]


class Heard:
    """Takes the place of the log and of the metrics."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, dict[str, Any]]] = []
        self.exhausted: list[str] = []

    def event(self, name: str, _message: str, level: str, **fields: Any) -> None:
        self.events.append((name, level, fields))

    def on_retry_budget_exhausted(self, upstream: str) -> None:
        self.exhausted.append(upstream)


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Heard:
    heard = Heard()
    monkeypatch.setattr(told, "event", heard.event)
    return heard


def a_call(attempts: list[dict[str, Any]] | None = None) -> CallRecord:
    record = CallRecord()
    record.request_id, record.upstream, record.connection, record.attempts = "r1", "crm", "c1", attempts
    return record


def test_a_call_that_was_tried_again(heard: Heard) -> None:
    told.gave_up(heard, a_call(ATTEMPTS), RETRY, Stop.ATTEMPTS)  # type: ignore[arg-type]
    about = {"request_id": "r1", "upstream": "crm", "connection": "c1", "attempts": ATTEMPTS, "reason": "attempts"}
    assert heard.events == [("upstream.gave_up", "error", about)]


def test_level_and_silence_are_the_policys(heard: Heard) -> None:
    told.gave_up(heard, a_call(ATTEMPTS), replace(RETRY, told="warning"), Stop.DEADLINE)  # type: ignore[arg-type]
    told.gave_up(heard, a_call(ATTEMPTS), replace(RETRY, told=""), Stop.DEADLINE)  # type: ignore[arg-type]
    assert [level for _, level, _ in heard.events] == ["warning"]


@pytest.mark.parametrize("stop", [Stop.METHOD, Stop.BUDGET, Stop.UPSTREAM_WAIT])
def test_a_call_that_was_tried_once_has_its_own_line(heard: Heard, stop: Stop) -> None:
    told.gave_up(heard, a_call(), RETRY, stop)  # type: ignore[arg-type]
    assert heard.events == []
    assert heard.exhausted == (["crm"] if stop is Stop.BUDGET else [])
