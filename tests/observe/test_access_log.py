"""The line of a call: names, types, units, what is left out, what may never be in it."""

import random
import re
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.core.ask import Ask, UsedUp
from gateway.core.limits import Decision, Verdict
from gateway.core.problems import RATE_LIMIT, Refusal
from gateway.observe.log import colours
from gateway.observe.log.access import AccessLog
from gateway.observe.log.encode import LINE_BYTES
from gateway.observe.log.logger import envelope
from gateway.observe.log.schema import ACCESS_FIELDS, ENVELOPE
from gateway.observe.log.writer import writer_for
from gateway.record import CallRecord
from gateway.settings import Logging, Settings
from tests.observe.conftest import Emit, finished_call

TYPES = {"string": str, "integer": int, "number": (int, float), "array": list, "boolean": bool}
RARE: dict[str, Any] = {
    "auth_scheme": "partners",
    "auth_key": "acme-2026",
    "account": "a1",
    "retry_after_s": 41,
    "breaker": "connection",
    "breaker_state": "half_open",
    "attempts": [{"n": 1, "status": 503, "error_class": "server_error", "upstream_ms": 1.5, "wait_ms": 1000}],
    "upstream_request_id": "req_1",
    "upstream_retry_after_s": 30,
    "upstream_limit_remaining": 0,
    "upstream_limit_reset_s": 30,
    "error_class": "server_error",
    "error_detail": "the upstream says 503",
    "store_error": "timeout",
    "code": "UPSTREAM_UNREACHABLE",
    "aborted_by": "upstream",
    "cache": "miss",
    "costs": {"connection-1m": 3},
    "cost_unknown": "no_number",
    "queue_s": 0.001,
    "retry_wait_s": 0.001,
}


ADMITTED = {
    "level": "info",
    "message": "Call finished",
    "event_name": "http.access",
    "schema": 1,
    "service_name": "ratelimit-gateway",
    "service_version": "0.1.0",
    "instance": "gateway",
    "worker": 0,
    "policy_version": "0123456789ab",
    "request_id": "5f1e3d2c1b0a00000001",
    "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
    "span_id": "00f067aa0ba902b7",
    "method": "GET",
    "scheme": "http",
    "http_host": "gateway:8080",
    "path": "/erp/items/4711",
    "protocol": "HTTP/1.1",
    "status": 200,
    "client_ip": "192.0.2.7",
    "peer_ip": "10.0.0.1",
    "http_user_agent": "service/1.4",
    "http_referer": "https://***@shop.example/cart",
    "bytes_in": 3,
    "bytes_out": 1024,
    "duration_ms": pytest.approx(12.5, abs=0.002),
    "gateway_ms": pytest.approx(2.0, abs=0.002),
    "store_ms": 0.5,
    "upstream_ms": 10.0,
    "route": "erp",
    "upstream": "erp-api",
    "upstream_addr": "192.0.2.10:443",
    "operation": "items.read",
    "entity": "item",
    "tenant": "acme",
    "connection": "conn_42",
    "response_source": "upstream",
    "decision": "shadow_limited",
    "limit_fired": "tenant-shadow",
    "limit_remaining": 7,
    "limit_reset_s": 599.0,
    "limits": [
        {
            "name": "tenant-10m",
            "mode": "enforce",
            "decision": "allowed",
            "limit": 500,
            "remaining": 7,
            "reset_s": 599.0,
            "cost": 1,
        },
        {
            "name": "connection-1m",
            "mode": "enforce",
            "decision": "allowed",
            "limit": 20,
            "remaining": 7,
            "reset_s": 39.0,
            "cost": 1,
        },
        {
            "name": "tenant-shadow",
            "mode": "shadow",
            "decision": "shadow_limited",
            "limit": 100,
            "remaining": 0,
            "reset_s": 5.0,
            "cost": 1,
        },
    ],
    "store": "redis",
    "upstream_status": 200,
}


def test_an_admitted_call(call: CallRecord, emit: Emit) -> None:
    (line,) = emit(call)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line.pop("timestamp"))
    assert line == ADMITTED


def test_every_field_of_the_schema_can_appear_and_has_its_type(call: CallRecord, emit: Emit) -> None:
    for name, value in RARE.items():
        setattr(call, name, value)
    too_long = finished_call()
    too_long.tenant = "x" * LINE_BYTES
    first, second = emit(call, too_long, redact=())
    seen = first | second
    fields = {**ENVELOPE, **ACCESS_FIELDS}
    assert seen.keys() == fields.keys() - {"sampled_out"}  # of logs that leave lines out: test_sampling
    assert [entry["cost"] for entry in first["limits"]] == [1, 3, 1], "real costs where they are known"
    for name, value in seen.items():
        assert isinstance(value, TYPES[fields[name].type]), name
        assert fields[name].type == "boolean" or not isinstance(value, bool), name


def test_what_is_unknown_is_left_out(emit: Emit) -> None:
    record = CallRecord()
    record.request_id, record.status, record.error_class = "1", 400, "bad_request"
    record.started = record.ended = 5.0
    (line,) = emit(record)
    assert set(line) - set(ENVELOPE) == {
        "request_id",
        "scheme",
        "status",
        "bytes_in",
        "bytes_out",
        "duration_ms",
        "gateway_ms",
        "response_source",
        "decision",
        "store",
        "error_class",
    }
    assert not [name for name, value in line.items() if value in ("", "-", None)]


@pytest.mark.parametrize(
    ("status", "source", "level"),
    [
        (200, "upstream", "info"),
        (503, "upstream", "info"),
        (429, "limit", "info"),
        (404, "gateway", "info"),
        (502, "gateway", "warning"),
        (503, "limit", "warning"),
    ],
)
def test_failures_of_our_own_are_warnings(call: CallRecord, emit: Emit, status: int, source: str, level: str) -> None:
    call.status, call.response_source = status, source
    assert [line["level"] for line in emit(call)] == [level]
    assert len(emit(call, level="warning", access="off")) == 1  # nothing was added


def test_what_is_noted_of_calls_that_are_alike_is_bounded(call: CallRecord, emit: Emit) -> None:
    """While the store is down, each call asks something of its own: nothing of that may be kept for the next one."""
    call.notes = {}
    for _ in range(50):
        call.ask = Ask(call.ask.charges)
        emit(call)
    assert len(call.notes) <= 2


def test_the_level_of_the_settings_holds_for_calls(call: CallRecord, emit: Emit) -> None:
    failed = finished_call()
    failed.status, failed.response_source = 504, "gateway"
    assert [line["status"] for line in emit(call, failed, level="warning")] == [504]
    assert len(emit(call, failed, level="error")) == 1


def test_the_query_is_logged_only_when_asked_for_and_without_secrets(call: CallRecord, emit: Emit) -> None:
    (line,) = emit(call, redact=("authorization", "cookie"))
    assert line["query"] == "page=2&token=[redacted]"
    assert line["http_referer"] == "https://***@shop.example/cart?sid=s3cret"
    assert line["path"] == "/erp/items/4711"


@pytest.mark.parametrize("parts", [False, True])
def test_fields_about_callers_can_be_hidden(call: CallRecord, emit: Emit, parts: bool) -> None:
    call.notes = {} if parts else None
    (line,) = emit(call, redact=("query", "client_ip", "Tenant"))
    assert not {"client_ip", "tenant", "query"} & line.keys()
    assert line["connection"] == "conn_42"


REFUSED = Decision(False, tuple(Verdict(False, 0, 9_000_000, 9_000_000, 9_000_000) for _ in range(3)), 1_700_000)


def refused_again(known: UsedUp, number: int = 0) -> CallRecord:
    """A call that a limit refuses as it did the one before, without asking the store."""
    record = finished_call()
    record.ask.used_up = known
    record.decision, record.verdict, record.limit_fired = REFUSED, "limited", "tenant-10m"
    record.store_s = record.upstream_s = record.upstream_status = 0
    record.upstream_addr, record.breaker = "", "connection"
    record.status, record.response_source, record.code = 429, "limit", known.refusal.kind.code
    record.retry_after_s = known.refusal.retry_after_s
    record.request_id, record.target, record.method = f"r{number}", f"/erp/items/{number}?a={number}", "POST"
    record.bytes_in, record.bytes_out = number, 300 + number
    record.trace_id = "" if number == 1 else record.trace_id
    return record


@pytest.fixture
def known() -> UsedUp:
    return UsedUp(1.0, REFUSED, Refusal(RATE_LIMIT, "Used up.", "limit", retry_after_s=9, violated=("tenant-10m",)))


def without_time(line: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in line.items() if name.lower() not in ("timestamp", "@timestamp")}


@pytest.mark.parametrize("format_", ["native", "ecs", "otel"])
@pytest.mark.parametrize("redact", [("query",), (), ("tenant", "connection", "client_ip")])
def test_a_refusal_that_is_repeated_is_logged_as_any_other(
    known: UsedUp, emit: Emit, format_: str, redact: tuple[str, ...]
) -> None:
    notes: dict[Any, Any] = {}
    again, whole = [[refused_again(known, number) for number in range(3)] for _ in range(2)]
    for record in again:
        record.notes = notes
    lines = emit(*again, *whole, format=format_, redact=redact)
    assert known.logged is not None, "not written as a whole each time"
    told, expected = [[without_time(line) for line in some] for some in (lines[:3], lines[3:])]
    assert told == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("store_s", 0.5),
        ("queue_s", 0.25),
        ("upstream_s", 0.125),
        ("error_class", "client_closed"),
        ("aborted_by", "client"),
        ("code", "INTERNAL"),
        ("decision", Decision(*REFUSED)),
    ],
)
def test_a_refusal_with_more_to_it_is_logged_with_that(known: UsedUp, emit: Emit, name: str, value: object) -> None:
    usual, more, whole = refused_again(known), refused_again(known), refused_again(known)
    usual.notes = more.notes = {}
    setattr(more, name, value)
    setattr(whole, name, value)
    _, told, expected = map(without_time, emit(usual, more, whole))
    assert told == expected


@pytest.mark.parametrize("format_", ["native", "ecs", "otel"])
@pytest.mark.parametrize("tenant", ["\ud800", "\u202e", "x" * LINE_BYTES])
def test_a_repeated_refusal_of_a_caller_whose_name_takes_care(
    known: UsedUp, emit: Emit, format_: str, tenant: str
) -> None:
    records = [refused_again(known) for _ in range(3)]
    records[0].notes = records[1].notes = {}
    for record in records:
        record.tenant = tenant
    *told, expected = map(without_time, emit(*records, format=format_))
    assert told == [expected] * 2


def test_refusals_of_one_caller_in_two_ways_are_not_mixed_up(known: UsedUp, emit: Emit) -> None:
    records = [refused_again(known, number) for number in range(4)]
    for number, record in enumerate(records):
        record.user_agent, record.notes = f"agent {number % 2}", {}
    lines = emit(*records)
    assert [line["http_user_agent"] for line in lines] == ["agent 0", "agent 1"] * 2


def test_two_logs_of_one_worker_each_keep_their_format(known: UsedUp, tmp_path: Path) -> None:
    paths = {format_: tmp_path / format_ for format_ in ("native", "ecs", "otel")}
    logs = [
        AccessLog(Logging(access=str(path), format=format_, pretty=False), envelope(Settings(), worker=0))  # type: ignore[arg-type]
        for format_, path in paths.items()
    ]
    record = refused_again(known)
    record.notes = {}
    for _ in range(2):
        for log in logs:
            log.emit(record)
    for path, status in zip(paths.values(), ("status", "http.response.status_code", "Attributes"), strict=True):
        writer_for(str(path)).flush()
        assert all(status in orjson.loads(line) for line in path.read_bytes().splitlines())


def test_a_password_in_an_absolute_target_is_not_logged(call: CallRecord, emit: Emit) -> None:
    call.target = "http://user:s3cret@host/a/b?token=s3cret"
    (line,) = emit(call)
    assert line["path"] == "/a/b"
    assert "s3cret" not in str(line)


def test_a_socket_on_which_no_request_could_be_read_has_its_line_too(emit: Emit) -> None:
    unread = CallRecord()
    unread.status = 400
    (line,) = emit(unread)
    assert line["status"] == 400
    assert not line.keys() & {"method", "path", "protocol"}


def test_other_formats_rename_every_key(call: CallRecord, emit: Emit) -> None:
    for name, value in RARE.items():
        setattr(call, name, value)
    ecs, otel = emit(call, format="ecs")[0], emit(call, format="otel")[1]
    fields = {
        name: field
        for name, field in {**ENVELOPE, **ACCESS_FIELDS}.items()
        if name not in ("query", "truncated", "sampled_out")
    }
    assert ecs.keys() == {field.ecs for field in fields.values()} | {"url.port", "ecs.version"}
    flat = {**otel.pop("Attributes"), **otel.pop("Resource"), **otel}
    assert flat.keys() == {field.otel for field in fields.values()} | {"server.port", "SeverityNumber"}
    assert ecs["event.duration"] == pytest.approx(12_500_000, abs=2_000)
    assert isinstance(ecs["event.duration"], int)
    assert (ecs["http.version"], flat["network.protocol.version"]) == ("1.1", "1.1")
    assert (ecs["@timestamp"][:4], flat["http.response.status_code"]) == (otel["Timestamp"][:4], 200)


ECS_ROOTS = re.findall(
    "[a-z_]+",
    "event service host client server source destination error url user user_agent log network process rule tls http "
    "file agent observer",
)


def test_no_native_name_is_an_object_of_ecs() -> None:
    assert not set(ENVELOPE) & set(ECS_ROOTS)
    assert not set(ACCESS_FIELDS) & set(ECS_ROOTS)


def test_a_line_has_at_most_16_kib_whatever_is_in_it(call: CallRecord, emit: Emit) -> None:
    nasty = "\x1b\udc80\u2028" * 20_000
    for name in ("target", "user_agent", "referer", "http_host", "tenant", "account", "connection", "error_detail"):
        setattr(call, name, nasty)
    call.ask = Ask(call.charges[:1] * 300)
    assert call.decision is not None
    call.decision = call.decision._replace(verdicts=call.decision.verdicts[:1] * 300)
    (line,) = emit(call)
    assert len(orjson.dumps(line)) <= LINE_BYTES
    assert line["truncated"] is True
    assert line["status"] == 200
    assert 0 < len(line["limits"]) <= 300


def test_long_paths_and_user_agents_alone_do_not_cut_the_rest(call: CallRecord, emit: Emit) -> None:
    call.target, call.user_agent = "/" + "p" * 16_000, "a" * 16_000
    (line,) = emit(call)
    assert (len(line["path"]), len(line["http_user_agent"])) == (4_096, 512)
    assert line["tenant"] == "acme"
    assert len(line["limits"]) == 3


def test_numbers_no_encoder_takes_do_not_lose_the_line(call: CallRecord, emit: Emit) -> None:
    call.upstream_limit_remaining = 10**30
    (line,) = emit(call)
    assert line["upstream_limit_remaining"] == 1e30


PIECES = [
    "\r\n",
    "\n",
    "\x1b[2J",
    "\u2028",
    "\u2029",
    "\x85",
    "\x9b",
    '"',
    "\\",
    "\x00",
    "\udce9",
    "\ud800",
    "é",
    "🦑",
    "\u202e",
    "%0a",
    "a",
    "/",
]
"""What breaks logs: line ends, terminal escapes, quotes, bytes that are no UTF-8, text that runs backwards."""


def _fuzzed(rng: random.Random) -> CallRecord:
    def text() -> str:
        return "".join(rng.choices(PIECES, k=rng.randrange(1, 12)))

    record = finished_call()
    record.method, record.target = text(), "/" + text() + "?" + text()
    record.http_host, record.user_agent, record.referer = text(), text(), text()
    record.tenant, record.connection, record.client_ip = text(), text(), text()
    return record


def test_ten_thousand_hostile_calls_are_ten_thousand_lines(tmp_path: Path) -> None:
    rng = random.Random(17)
    path = tmp_path / "access.log"
    log = AccessLog(Logging(access=str(path), redact=(), pretty=False), envelope(Settings(), worker=0))
    records = [_fuzzed(rng) for _ in range(10_000)]
    for record in records:
        log.emit(record)
    writer_for(str(path)).flush()
    data = path.read_bytes()
    assert len(data.decode("utf-8").splitlines()) == len(records)  # splits at U+2028, NEL and the like too
    lines = [orjson.loads(line) for line in data.split(b"\n")[:-1]]
    assert [line["status"] for line in lines] == [200] * len(records)
    assert not re.search(rb"[\x00-\x09\x0b-\x1f\x7f]", data)
    assert not re.search("[\x7f-\x9f\u2028\u2029\u202a-\u202e]", data.decode("utf-8"))


def test_hostile_calls_cannot_act_on_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(colours, "wants_colours", lambda _destination: True)
    rng = random.Random(18)
    path = tmp_path / "access.log"
    log = AccessLog(Logging(access=str(path), pretty=True), envelope(Settings(), worker=0))
    for _ in range(500):
        log.emit(_fuzzed(rng))
    writer_for(str(path)).flush()
    text = path.read_bytes().decode("utf-8")
    assert text.count("\n") == 500
    assert not re.search("[\x00-\x09\x0b-\x1a\x7f-\x9f\u2028\u202e]", text)
    assert set(re.findall("\x1b[^m]{0,6}m?", text)) == {f"\x1b[{code}m" for code in (0, 1, 2, 32, 33, 36)}


def test_people_get_one_short_line(call: CallRecord, tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    call.status, call.verdict, call.retry_after_s, call.error_class = 429, "limited", 41, "rate_limited"
    log = AccessLog(Logging(access=str(path), pretty=True), envelope(Settings(), worker=0))
    log.emit(call)
    writer_for(str(path)).flush()
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d\.\d{3} GET    /erp/items/4711 429 12\.5 ms erp acme conn_42 limited by tenant-shadow 7 left "
        r"retry in 41 s rate_limited\n",
        path.read_text(),
    )


@pytest.mark.parametrize(
    ("env", "coloured"),
    [
        ({"TERM": "xterm"}, True),
        ({}, True),
        ({"TERM": "xterm", "NO_COLOR": ""}, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False),
        ({"TERM": "dumb"}, False),
    ],
)
def test_a_terminal_has_colours_unless_somebody_says_no(
    monkeypatch: pytest.MonkeyPatch, env: dict[str, str], coloured: bool
) -> None:
    monkeypatch.setattr(colours, "is_terminal", lambda destination: destination == "stdout")
    for name in ("TERM", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    assert colours.fit_for("stdout", lambda: b"\x1b[1mGET\x1b[0m /")() == (
        b"\x1b[1mGET\x1b[0m /" if coloured else b"GET /"
    )
    assert colours.fit_for("access.log", lambda: b"\x1b[1mGET\x1b[0m /")() == b"GET /"
