"""How calls become reports about connections: counted on the way, sent together, at once when a state may change."""

import gc
import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import orjson
import pytest

from gateway.core.ask import NOTHING, Ask
from gateway.core.classes import DEFAULT
from gateway.core.connections.counts import Row
from gateway.core.connections.outcome import Outcomes
from gateway.core.connections.state import ConnectionState, Failure, Named, Report, Transition
from gateway.core.guards import Breaker
from gateway.core.keys import encode_part
from gateway.observe.connections import reporting as module
from gateway.observe.connections.reporting import BATCH, MOST_AT_ONCE, Connections, tell_transition
from gateway.observe.log.events import EVENTS
from gateway.observe.log.logger import configure_logging, envelope
from gateway.observe.log.writer import writer_for
from gateway.settings import Logging, Settings
from gateway.store.shared.status import LocalStatuses
from tests.fakes.collector import no_collector
from tests.fakes.waiting import turns
from tests.observe.connecting import ACME, FAILED, FAILING, GOOD, LIMITED, NO_PLACE, OFF, REFUSED, UNSEEN, Store, call
from tests.observe.connecting import connections as connections
from tests.observe.connecting import store as store


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch, connections: Connections) -> Callable[[], None]:
    """Function that starts the ticks, a thousand times as fast."""

    def start() -> None:
        monkeypatch.setattr(module, "TICK_S", 0.001)
        connections.start()

    return start


async def test_a_breaker_of_one_operation_does_not_shut_the_connection(store: Store, connections: Connections) -> None:
    """Other operations go on: it would be offline and online again with each report."""
    by_operation = Breaker("by-operation", ("connection", "operation"))
    connections.outcomes = Outcomes(DEFAULT, [by_operation, Breaker("whole", ("tenant", "connection"))])
    connections.emit(call(store, status=0, response_source="breaker", breaker="by-operation"))
    assert store.pushes == []
    connections.emit(call(store, status=0, response_source="breaker", breaker="whole"))
    await connections.close()
    assert [report.shut for report in store.pushes[0].values()] == [(("whole", 0),)]


async def test_what_a_breaker_let_through_is_told_where_it_matters(store: Store, connections: Connections) -> None:
    """Of the answer to a probe, and of answers while the connection is offline: those are what ends it."""
    connections.emit(call(store, breaker="one", breaker_state="closed"))
    connections.emit(call(store, breaker="two", breaker_state="half_open"))
    store.state = ConnectionState.OFFLINE
    connections.emit(call(store, status=0, response_source="breaker", breaker="one"))
    await turns(4)
    connections.emit(call(store, breaker="one", breaker_state="closed"))
    await connections.close()
    assert [[*report.through] for push in store.pushes for report in push.values()] == [
        [("two", 100_000)],
        [("one", 100_000)],
    ]


async def test_successes_wait_for_the_tick(store: Store, connections: Connections, ticking: Callable[[], None]) -> None:
    for _ in range(3):
        connections.emit(call(store))
    connections.emit(call(store, started=store.now - 5))
    connections.emit(call(store, operation="product.write"))
    await turns(4)
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
    await turns(4)
    (push,) = store.pushes
    assert push[ACME] == Report(
        (Row("product.read", "product", failed=500),),
        failures=500,
        tail=500,
        failure=Failure(0, "server_error", 503, "r-1", "product.read", "product"),
    )
    connections.emit(call(store, **FAILING))
    await turns(4)
    assert len(store.pushes) == 1  # not twice in a second
    store.now += 1
    connections.emit(call(store, **FAILING))
    await turns(4)
    assert store.pushes[1][ACME].failures == 2


async def test_a_known_trouble_waits_for_the_tick(store: Store, connections: Connections) -> None:
    store.state = ConnectionState.AUTH_REQUIRED
    connections.emit(call(store, **REFUSED))
    await turns(4)
    assert len(store.pushes) == 1
    store.now += 60
    connections.emit(call(store, **REFUSED))
    connections.emit(call(store, **FAILING))
    await turns(4)
    assert len(store.pushes) == 1
    connections.emit(call(store, 403, "auth_error"))
    await turns(4)
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
    await turns(4)
    store.pushes.clear()
    store.now += 1
    connections.emit(call(store))
    await turns(4)
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
        ({"status": 0, "response_source": "breaker", "breaker": "b"}, {"shut": (("b", 0),)}),
        ({"status": 0, "response_source": "breaker", "breaker": "b", "breaker_state": "open"}, {"shut": (("b", 0),)}),
        ({"status": 0, "response_source": "pause", "retry_after_s": 9}, {"limited_us": 9_000_000}),
        ({"status": 200, "attempts": FAILED[:1] + GOOD}, {"ok": 1, "failed": 1, "failures": 1, "answer_us": 100_000}),
        ({**FAILING, "attempts": FAILED * 3}, {"failed": 3, "failures": 3, "tail": 3}),
        ({**FAILING, "attempts": FAILED + NO_PLACE}, {"failed": 1, "failures": 1, "tail": 1}),
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
    await turns(4)
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


@pytest.mark.parametrize("asking", [True, False])
async def test_each_call_is_counted_once_and_where_it_belongs_also_when_counting_begins_anew(
    monkeypatch: pytest.MonkeyPatch, asking: bool
) -> None:
    monkeypatch.setattr(module, "MAX_PAIRS", 8)
    counted, made = Counter[tuple[str, str]](), Counter[tuple[str, str]]()

    async def push(reports: Sequence[tuple[Named, Report]]) -> list[ConnectionState]:
        for named, report in reports:
            counted.update({(named.connection, row.operation): row.ok for row in report.rows})
        return [ConnectionState.ONLINE] * len(reports)

    store, chance = Store(), random.Random(7)
    connections = Connections(Outcomes(DEFAULT), OFF, push, clock=lambda: store.now)
    asks = {(f"c{number}", operation): Ask(()) for number in range(6) for operation in ("read", "write")}
    for _ in range(600):
        whose = chance.choice([*asks])
        record = call(store, connection=whose[0], operation=whose[1])
        record.ask = asks[whose] if asking else NOTHING
        connections.emit(record)
        made[whose] += 1
        if chance.random() < 0.3:
            connections._tick()
            await turns()
    await connections.close()
    assert counted == made


async def test_a_caller_whose_calls_are_well_is_counted_on_whatever_comes_between(store: Store) -> None:
    """What its last call has found out holds for the next one only while nothing else happens."""
    ask, pushes, meanwhile = Ask(()), list[Report](), list[Callable[[], None]]()

    async def push(reports: Sequence[tuple[Named, Report]]) -> list[ConnectionState]:
        pushes.extend(report for _, report in reports)
        while meanwhile:
            meanwhile.pop()()
        return [store.state] if store.up else []

    connections = Connections(Outcomes(DEFAULT), OFF, push, clock=lambda: store.now)

    def emit(**changes: Any) -> None:
        connections.emit(call(store, ask=ask, **changes))

    async def reported() -> Report:
        connections._tick()
        await turns(4)
        return pushes.pop()

    for failing, tail in ((FAILING, 0), ({}, 0), (FAILING, 1)):  # a success behind a failure ends the row of them
        emit()
        emit(**failing)
        if not tail:
            emit()
        assert (await reported()).tail == tail
        store.now += 2
    store.up = False  # it says nothing of states
    for _ in range(2):
        emit()
        emit()
        assert (await reported()).rows[0].ok == 2
    store.up, store.state = True, ConnectionState.OFFLINE  # told while the next calls are counted already
    meanwhile += [emit, emit]
    emit()
    assert (await reported()).rows[0].ok == 1
    store.now += 2
    emit()
    await turns(4)
    assert pushes.pop().rows[0].ok == 3  # at once: it may be well again
    emit()  # too soon after that report
    await turns(4)
    assert pushes == []
    store.now += 2
    emit()
    await turns(4)
    assert pushes.pop().rows[0].ok == 2
    await connections.close()


async def test_a_caller_that_was_forgotten_with_what_was_counted_is_counted_again(
    store: Store, connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_PAIRS", 8)
    ask, store.up = Ask(()), False
    for _ in range(2):
        connections.emit(call(store, ask=ask))
    for number in range(40):  # nothing can be reported: counting begins anew, and what waits is given up, too
        connections.emit(call(store, connection=f"c{number}"))
    store.up = True
    connections.emit(call(store, ask=ask))
    await connections.close()
    assert [push[ACME].rows[0].ok for push in store.pushes if ACME in push] == [1]


async def test_what_is_forgotten_is_free_at_once(
    store: Store, connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_PAIRS", 8)
    with no_collector():
        for number in range(100):
            store.up = number > 50
            connections.emit(call(store, connection=f"c{number}"))
            connections._tick()
            await turns()
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
    await turns(4)
    store.now += 10
    connections.emit(call(store))
    await turns(4)
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
    await turns(4)
    store.now += 7
    connections.emit(call(store))
    await turns(4)
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
