"""The log of connection errors: a line for each attempt for which a connection is to blame."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.core.classes import DEFAULT
from gateway.core.connections.outcome import Outcomes
from gateway.observe.connections.errors import ConnectionErrors
from gateway.observe.connections.reporting import Connections
from gateway.observe.log.logger import envelope
from gateway.observe.log.schema import CONNECTION_ERROR_FIELDS, ENVELOPE
from gateway.observe.log.writer import writer_for
from gateway.record import CallRecord
from gateway.settings import Logging, Settings
from tests.observe.connecting import FAILING, REFUSED, Store, call
from tests.observe.connecting import store as store


@pytest.fixture
def lines(tmp_path: Path, store: Store) -> Callable[..., list[dict[str, Any]]]:
    """Emit calls; the lines of the log of connection errors."""
    path = tmp_path / "connections.log"

    def written(*records: CallRecord, **settings: Any) -> list[dict[str, Any]]:
        logging = Logging(**{"connection_errors": str(path), "pretty": False, **settings})
        errors = ConnectionErrors(logging, envelope(Settings(), worker=0))
        connections = Connections(Outcomes(DEFAULT), errors, store.push, clock=lambda: store.now)
        for record in records:
            connections.emit(record)
        writer_for(logging.connection_errors).close()
        return [orjson.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []

    return written


async def test_a_line_for_each_failed_attempt(store: Store, lines: Callable[..., list[dict[str, Any]]]) -> None:
    record = call(store, **FAILING, trace_id="4bf92f3577b34da6a3ce929d0e0e4736", span_id="00f067aa0ba902b7")
    record.route, record.upstream, record.upstream_addr, record.method = "erp", "erp-api", "192.0.2.10:443", "GET"
    record.status, record.upstream_s, record.error_detail, record.policy_version = 503, 0.09, "gone", "0123456789ab"
    record.attempts = [
        {"n": 1, "error_class": "timeout", "upstream_ms": 50.0},
        {"n": 2, "status": 503, "error_class": "server_error", "upstream_ms": 40.0, "wait_ms": 9.8},
    ]
    first, second = lines(record)
    common = {
        "level": "warning",
        "message": "Attempt failed",
        "event_name": "connection.error",
        "logger": "gateway.connection_error",
        "schema": 1,
        "service_name": "ratelimit-gateway",
        "instance": "gateway",
        "worker": 0,
        "policy_version": "0123456789ab",
        "request_id": "r-1",
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        "span_id": "00f067aa0ba902b7",
        "method": "GET",
        "route": "erp",
        "operation": "product.read",
        "entity": "product",
        "tenant": "acme",
        "connection": "conn_42",
        "upstream": "erp-api",
        "upstream_addr": "192.0.2.10:443",
    }
    for line in (first, second):
        assert line.pop("timestamp")
        assert line.pop("service_version")
    assert {"timestamp", "service_version", *second} - ENVELOPE.keys() == CONNECTION_ERROR_FIELDS.keys() - {
        "account",
        "upstream_retry_after_s",
    }
    assert first == {**common, "attempt": 1, "last_attempt": False, "error_class": "timeout", "upstream_ms": 50.0}
    assert second == {
        **common,
        "attempt": 2,
        "last_attempt": True,
        "error_class": "server_error",
        "error_detail": "gone",
        "upstream_ms": 40.0,
        "upstream_status": 503,
        "status": 503,
        "duration_ms": 100.0,
    }


async def test_only_what_the_connection_is_to_blame_for(
    store: Store, lines: Callable[..., list[dict[str, Any]]]
) -> None:
    quiet = [
        call(store),
        call(store, 404, "client_error"),
        call(store, 0, response_source="limit"),
        call(store, 0, response_source="breaker"),
        call(store, **FAILING, connection=""),
    ]
    loud = [call(store, **REFUSED), call(store, 429, "rate_limited", upstream_retry_after_s=3), call(store, 0, "tls")]
    written = lines(*quiet, *loud)
    assert [line["error_class"] for line in written] == ["auth_error", "rate_limited", "tls"]
    assert written[1]["upstream_retry_after_s"] == 3


async def test_a_test_that_had_no_answer_has_no_status(
    store: Store, lines: Callable[..., list[dict[str, Any]]]
) -> None:
    (line,) = lines(call(store, 0, "connect", error_detail="tcp: Connection refused"))
    assert (line["error_detail"], "status" in line, "upstream_status" in line) == (
        "tcp: Connection refused",
        False,
        False,
    )


async def test_what_redact_names_is_left_out(store: Store, lines: Callable[..., list[dict[str, Any]]]) -> None:
    (line,) = lines(call(store, **REFUSED), redact=("tenant", "connection"))
    assert not line.keys() & {"tenant", "connection"}


@pytest.mark.parametrize("settings", [{"connection_errors": "off"}, {"level": "error"}])
async def test_the_log_of_errors_can_be_switched_off(
    store: Store, lines: Callable[..., list[dict[str, Any]]], settings: dict[str, Any]
) -> None:
    assert lines(call(store, **REFUSED), **settings) == []


async def test_lines_of_errors_have_the_names_of_the_format(
    store: Store, lines: Callable[..., list[dict[str, Any]]]
) -> None:
    (line,) = lines(call(store, **REFUSED), format="ecs")
    assert (line["log.logger"], line["error.type"], line["labels.connection"]) == (
        "gateway.connection_error",
        "auth_error",
        "conn_42",
    )


async def test_at_a_terminal_an_error_is_one_harmless_line(store: Store, capfd: pytest.CaptureFixture[str]) -> None:
    errors = ConnectionErrors(Logging(pretty=True), {})
    connections = Connections(Outcomes(DEFAULT), errors, store.push, clock=lambda: store.now)
    connections.emit(call(store, **REFUSED, connection="\x1b[2Jodd"))
    writer_for("stdout").close()
    text = capfd.readouterr().out
    assert "\x1b" not in text  # not even a colour, where nobody reads at a terminal
    assert "acme \\x1b[2Jodd product.read attempt 1" in text
    assert "401 auth_error" in text
