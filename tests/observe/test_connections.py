"""How calls become reports about connections: counted on the way, sent together, at once when a state may change."""

import asyncio
import gc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.core.classes import DEFAULT
from gateway.core.connections.counts import Row
from gateway.core.connections.outcome import Outcomes
from gateway.core.connections.state import ConnectionState, Failure, Named, Report, Transition
from gateway.core.keys import encode_part
from gateway.observe.connections import reporting as module
from gateway.observe.connections.errors import ConnectionErrors
from gateway.observe.connections.reporting import BATCH, MOST_AT_ONCE, Connections, tell_transition
from gateway.observe.log.events import EVENTS
from gateway.observe.log.logger import configure_logging, envelope
from gateway.observe.log.schema import CONNECTION_ERROR_FIELDS, ENVELOPE
from gateway.observe.log.writer import writer_for
from gateway.record import CallRecord
from gateway.settings import Logging, Settings
from gateway.store.shared.status import LocalStatuses
from tests.fakes.collector import no_collector

ACME = Named("acme", "conn_42")
OFF = ConnectionErrors(Logging(connection_errors="off"), {})


class Store:
    """Takes reports; says that the connections are as `state` says."""

    def __init__(self) -> None:
        self.pushes: list[dict[Named, Report]] = []
        self.state = ConnectionState.ONLINE
        self.up = True
        self.now = 1_000.0
        self._came = asyncio.Event()

    async def push(self, reports: Sequence[tuple[Named, Report]]) -> list[ConnectionState]:
        self.pushes.append(dict(reports))
        self._came.set()
        return [self.state] * len(reports)

    async def next(self) -> dict[Named, Report]:
        """The next push."""
        while not self.pushes:
            self._came.clear()
            await self._came.wait()
        return self.pushes.pop(0)


@pytest.fixture
async def store() -> Store:
    return Store()


@pytest.fixture
async def connections(store: Store) -> Connections:
    """Not started: nothing comes by time alone."""
    return Connections(Outcomes(DEFAULT), OFF, store.push, ready=lambda: store.up, clock=lambda: store.now)


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch, connections: Connections) -> Callable[[], None]:
    """Function that starts the ticks, a thousand times as fast."""

    def start() -> None:
        monkeypatch.setattr(module, "TICK_S", 0.001)
        connections.start()

    return start


def call(store: Store, status: int = 200, error_class: str = "", **changes: Any) -> CallRecord:
    """A call that took a tenth of a second and ends now."""
    record = CallRecord()
    record.request_id, record.tenant, record.connection = "r-1", "acme", "conn_42"
    record.operation, record.entity = "product.read", "product"
    record.started, record.ended = store.now - 0.1, store.now
    record.upstream_status, record.error_class = status, error_class
    record.response_source = "upstream" if status else "gateway"
    for name, value in changes.items():
        setattr(record, name, value)
    return record


FAILING = {"status": 503, "error_class": "server_error"}
REFUSED = {"status": 401, "error_class": "auth_error"}
FAILED = [{"status": 503, "error_class": "server_error", "upstream_ms": 3.0}]
UNSEEN = [{"error_class": "closed", "upstream_ms": 0.1}]  # a kept socket was closed: tried again at once
LIMITED = [{"status": 429, "error_class": "rate_limited", "upstream_ms": 3.0}]
GOOD = [{"status": 200, "upstream_ms": 3.0}]


async def turn() -> None:
    """Let everything run that is ready to."""
    for _ in range(4):
        await asyncio.sleep(0)


async def test_successes_wait_for_the_tick(store: Store, connections: Connections, ticking: Callable[[], None]) -> None:
    for _ in range(3):
        connections.emit(call(store))
    connections.emit(call(store, started=store.now - 5))
    connections.emit(call(store, operation="product.write"))
    await turn()
    assert store.pushes == []
    store.now += 2
    ticking()
    assert await store.next() == {
        ACME: Report(
            (
                Row("product.read", "product", ok=4, began_us=2_100_000, ended_us=2_000_000),
                Row("product.write", "product", ok=1, began_us=2_100_000, ended_us=2_000_000),
            ),
            answer_us=2_100_000,
        )
    }
    await connections.close()
    assert store.pushes == []


async def test_a_failure_is_reported_at_once_and_a_storm_of_them_once(store: Store, connections: Connections) -> None:
    for _ in range(500):
        connections.emit(call(store, **FAILING))
    await turn()
    (push,) = store.pushes
    assert push[ACME] == Report(
        (Row("product.read", "product", failed=500),),
        failures=500,
        tail=500,
        failure=Failure(0, "server_error", 503, "r-1", "product.read", "product"),
    )
    connections.emit(call(store, **FAILING))
    await turn()
    assert len(store.pushes) == 1  # not twice in a second
    store.now += 1
    connections.emit(call(store, **FAILING))
    await turn()
    assert store.pushes[1][ACME].failures == 2


async def test_a_known_trouble_waits_for_the_tick(store: Store, connections: Connections) -> None:
    store.state = ConnectionState.AUTH_REQUIRED
    connections.emit(call(store, **REFUSED))
    await turn()
    assert len(store.pushes) == 1
    store.now += 60
    connections.emit(call(store, **REFUSED))
    connections.emit(call(store, **FAILING))
    await turn()
    assert len(store.pushes) == 1
    connections.emit(call(store, 403, "auth_error"))
    await turn()
    assert store.pushes[1][ACME].denied == "permission_denied"


@pytest.mark.parametrize(
    ("state", "at_once"),
    [("offline", 1), ("auth_required", 1), ("permission_denied", 1), ("rate_limited", 0), ("degraded", 0)],
)
async def test_the_success_that_may_end_a_trouble_is_reported_at_once(
    store: Store, connections: Connections, state: str, at_once: int
) -> None:
    store.state = ConnectionState(state)
    connections.emit(call(store, **FAILING))
    await turn()
    store.pushes.clear()
    store.now += 1
    connections.emit(call(store))
    await turn()
    assert len(store.pushes) == at_once


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"status": 404, "error_class": "client_error"}, {"rejected": 1, "answer_us": 100_000}),
        (REFUSED, {"failed": 1, "answer_us": 100_000, "denied": "auth_required", "denied_us": 0}),
        ({"status": 429, "error_class": "rate_limited"}, {"failed": 1, "answer_us": 100_000, "limited_us": 60_000_000}),
        (
            {"status": 429, "error_class": "rate_limited", "upstream_retry_after_s": 7},
            {"failed": 1, "answer_us": 100_000, "limited_us": 7_000_000},
        ),
        (
            {"status": 429, "error_class": "rate_limited", "upstream_retry_after_s": 10**9},
            {"failed": 1, "answer_us": 100_000, "limited_us": 86_400_000_000},
        ),
        ({"status": 0, "error_class": "connect"}, {"failed": 1, "failures": 1, "tail": 1}),
        ({"status": 0, "response_source": "breaker"}, {"shut_us": 0}),
        ({"status": 0, "response_source": "breaker", "breaker_state": "open"}, {"shut_us": 0}),
        ({"status": 0, "response_source": "pause", "retry_after_s": 9}, {"limited_us": 9_000_000}),
        ({"status": 200, "attempts": FAILED[:1] + GOOD}, {"ok": 1, "failed": 1, "failures": 1, "answer_us": 100_000}),
        ({**FAILING, "attempts": FAILED * 3}, {"failed": 3, "failures": 3, "tail": 3}),
        ({"status": 200, "attempts": LIMITED + GOOD}, {"ok": 1, "failed": 1, "answer_us": 100_000}),
        ({"status": 200, "attempts": UNSEEN}, {"ok": 1, "answer_us": 100_000}),
        ({"status": 200, "attempts": UNSEEN + GOOD}, {"ok": 1, "answer_us": 100_000}),
        ({"status": 200, "error_class": "reset", "attempts": FAILED + GOOD}, {"failed": 2, "failures": 2, "tail": 2}),
    ],
)
async def test_what_an_attempt_says_of_its_connection(
    store: Store, connections: Connections, record: dict[str, Any], expected: dict[str, Any]
) -> None:
    connections.emit(call(store, **record))
    await connections.close()
    ((named, report),) = store.pushes[0].items()
    assert named == ACME
    said = {name: value for name, value in report._asdict().items() if value != getattr(Report(), name)}
    for row in said.pop("rows", ()):
        said |= {name: value for name, value in row._asdict().items() if value and name in ("ok", "rejected", "failed")}
    for name in ("failure", "denied_operation", "denied_entity"):
        said.pop(name, None)
    assert said == expected


@pytest.mark.parametrize(
    "record",
    [
        {"status": 0, "response_source": "limit"},
        {"status": 0, "error_class": "client_closed"},
        {"status": 0, "error_class": "busy"},
        {"status": 0, "response_source": "breaker", "breaker_state": "half_open"},
        {"status": 503, "error_class": "server_error", "connection": ""},
        {"status": 200, "connection": ""},
    ],
)
async def test_calls_that_say_nothing_of_a_connection_are_not_reported(
    store: Store, connections: Connections, record: dict[str, Any]
) -> None:
    connections.emit(call(store, **record))
    await connections.close()
    assert store.pushes == []


async def test_nothing_is_sent_while_the_store_is_down(
    store: Store, connections: Connections, ticking: Callable[[], None]
) -> None:
    store.up = False
    connections.emit(call(store, **FAILING))
    await turn()
    await connections.close()
    assert store.pushes == []
    store.up = True
    ticking()
    assert (await store.next())[ACME].failures == 1
    await connections.close()


async def test_many_connections_are_reported_in_batches(
    store: Store, connections: Connections, ticking: Callable[[], None]
) -> None:
    for number in range(MOST_AT_ONCE + 5):
        connections.emit(call(store, connection=f"c{number}"))
    ticking()
    sizes = [len(await store.next()) for _ in range(5)]
    assert sizes == [BATCH] * 4 + [5]
    await connections.close()


async def test_a_worker_without_calls_asks_now_and_then(
    store: Store, connections: Connections, ticking: Callable[[], None]
) -> None:
    ticking()
    assert await store.next() == {}
    await connections.close()


async def test_memory_is_bounded(store: Store, connections: Connections, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PAIRS", 8)
    store.up = False
    for number in range(1000):
        connections.emit(call(store, connection=f"c{number}"))
        connections.emit(call(store, connection=f"{number:0>5000}"))
        assert len(connections._pairs) <= 8
        assert len(connections._tallies) <= 9
        assert len(connections._waiting) <= 18
        assert all(len(key[1]) <= 128 for key in connections._pairs)


async def test_what_is_forgotten_is_free_at_once(
    store: Store, connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_PAIRS", 8)
    with no_collector():
        for number in range(100):
            store.up = number > 50
            connections.emit(call(store, connection=f"c{number}"))
            connections._tick()
            await asyncio.sleep(0)
        assert gc.collect() < 100


async def test_long_names_are_counted_under_their_hash(store: Store, connections: Connections) -> None:
    for _ in range(2):
        connections.emit(call(store, connection="x" * 5000))
    await connections.close()
    ((named, report),) = store.pushes[0].items()
    assert named == ("acme", encode_part("x" * 5000))
    assert report.rows[0].ok == 2


async def test_with_a_store_of_the_same_process(store: Store) -> None:
    told: list[Transition] = []
    statuses = LocalStatuses(told.append, clock=lambda: int(store.now * 1e6))
    connections = Connections(Outcomes(DEFAULT), OFF, statuses.report, clock=lambda: store.now)
    for record in (call(store), call(store, **REFUSED)):
        connections.emit(record)
    await turn()
    store.now += 10
    connections.emit(call(store))
    await turn()
    assert [(one.before, one.status.track.state) for one in told] == [
        ("online", "auth_required"),
        ("auth_required", "online"),
    ]
    (status,) = await statuses.find("conn_42")
    assert status.track.failure[1:4] == ("auth_error", 401, "r-1")


# Events -------------------------------------------------------------------------------------------


async def test_each_change_is_an_event(store: Store, capfd: pytest.CaptureFixture[str]) -> None:
    configure_logging(Logging(pretty=False), envelope(Settings(), worker=0))
    statuses = LocalStatuses(tell_transition, clock=lambda: int(store.now * 1e6))
    connections = Connections(Outcomes(DEFAULT), OFF, statuses.report, clock=lambda: store.now)
    connections.emit(call(store, **REFUSED))
    await turn()
    store.now += 7
    connections.emit(call(store))
    await turn()
    writer_for("stdout").close()
    refused, online = [orjson.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert {
        name: refused[name]
        for name in ("event_name", "level", "connection", "tenant", "state_before", "state_before_s")
    } == {
        "event_name": "connection.auth_required",
        "level": "warning",
        "connection": "conn_42",
        "tenant": "acme",
        "state_before": "online",
        "state_before_s": 0.0,
    }
    assert (
        refused["error_class"],
        refused["upstream_status"],
        refused["operation"],
        refused["entity"],
        refused["request_id"],
    ) == (
        "auth_error",
        401,
        "product.read",
        "product",
        "r-1",
    )
    assert (online["event_name"], online["level"], online["state_before"], online["state_before_s"]) == (
        "connection.online",
        "info",
        "auth_required",
        7.0,
    )
    assert "error_class" not in online
    assert {refused["event_name"], online["event_name"]} <= EVENTS.keys()


def test_every_state_has_an_event() -> None:
    assert {f"connection.{state}" for state in ConnectionState} | {"connection.error"} == {
        name for name in EVENTS if name.startswith("connection.")
    }


# The log of connection errors ---------------------------------------------------------------------


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
    assert "acme \\x1b[2Jodd product.read attempt 1" in text
    assert "401 auth_error" in text
