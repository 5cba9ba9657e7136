"""Lines of the other formats, held against what was published: ECS 8 and OpenTelemetry's logs data model."""

from datetime import datetime
from ipaddress import ip_address
from typing import Any

import pytest

from gateway.observe.log.formats import renaming
from gateway.observe.log.native import native
from gateway.observe.log.schema import FIELDS
from gateway.record import CallRecord
from tests.observe.conftest import Emit
from tests.observe.test_access_log import RARE

ECS = {
    "date": ("@timestamp",),
    "long": (
        *("event.duration", "http.request.body.bytes", "http.response.body.bytes", "http.response.status_code"),
        *("process.pid", "url.port"),
    ),
    "ip": ("client.ip", "source.ip"),
    "text": (
        *("ecs.version", "error.code", "error.message", "error.stack_trace", "error.type", "event.action"),
        *("http.request.id", "http.request.method", "http.request.referrer", "http.version", "log.level", "log.logger"),
        *("message", "organization.id", "rule.name", "service.name", "service.node.name", "service.version", "span.id"),
        *("trace.id", "url.domain", "url.path", "url.query", "url.scheme", "user_agent.original"),
    ),
}
"""Types of ECS 8.11 (its generated list of fields); text: keyword, wildcard and match_only_text. Fields of our own are
below `labels` (keywords) and `gateway`."""
ECS_TYPES = {name: type_ for type_, names in ECS.items() for name in names}
RECORD = {
    "Timestamp": str, "SeverityText": str, "SeverityNumber": int, "Body": str, "EventName": str, "TraceId": str,
    "SpanId": str, "Resource": dict, "Attributes": dict,
}  # fmt: skip
"""Fields of a log record (OpenTelemetry, Logs Data Model) that we fill."""


@pytest.fixture
def whole(call: CallRecord) -> CallRecord:
    """A call of which everything is known."""
    for name, value in RARE.items():
        setattr(call, name, value)
    return call


def test_every_ecs_name_is_published_or_ours() -> None:
    for name, field in FIELDS.items():
        assert field.ecs in ECS_TYPES or field.ecs.startswith(("labels.", "gateway.")), name


@pytest.mark.parametrize("parts", [False, True])
def test_values_of_ecs_have_their_published_types(whole: CallRecord, emit: Emit, parts: bool) -> None:
    whole.notes = {} if parts else None
    (line,) = emit(whole, format="ecs", redact=())
    for name, value in line.items():
        kind = ECS_TYPES.get(name)
        if kind == "long":
            assert isinstance(value, int), name
        elif kind == "ip":
            ip_address(value)
        elif kind == "date":
            datetime.fromisoformat(value)
        elif kind == "text":
            assert isinstance(value, str), name
        elif name.startswith("labels."):
            assert isinstance(value, str | int | bool), name
        else:
            assert name.startswith("gateway."), name
    roots = {name for name in line if not any(other.startswith(name + ".") for other in line)}
    assert roots == line.keys(), "a field is an object too"


@pytest.mark.parametrize("parts", [False, True])
def test_log_records_are_those_of_the_data_model(whole: CallRecord, emit: Emit, parts: bool) -> None:
    whole.notes = {} if parts else None
    (line,) = emit(whole, format="otel", redact=())
    assert {name: type(value) for name, value in line.items()} == RECORD
    assert (line["SeverityText"], line["SeverityNumber"], line["Body"]) == ("info", 9, "Call finished")
    assert (len(bytes.fromhex(line["TraceId"])), len(bytes.fromhex(line["SpanId"]))) == (16, 8)
    assert line["Resource"].keys() == {"service.name", "service.version", "service.instance.id"}
    assert not [name for name in line["Attributes"] if name[0].isupper() or name.startswith("service.")]
    assert (line["Attributes"]["server.address"], line["Attributes"]["server.port"]) == ("gateway", 8080)


@pytest.mark.parametrize("format_", ["native", "ecs", "otel"])
def test_lines_in_parts_say_the_same_as_whole_ones(whole: CallRecord, emit: Emit, format_: str) -> None:
    whole.cache = ""  # calls that it took part in are written whole
    emit(whole, format=format_)
    whole.notes = {}
    emit(whole, format=format_)
    first, *others = emit(whole, format=format_)
    for line in others:
        assert _timeless(line) == _timeless(first)
    assert whole.notes


@pytest.mark.parametrize(
    ("host", "name", "port"),
    [("a:80", "a", 80), ("a", "a", None), ("[::1]:80", "::1", 80), ("[::1]", "::1", None), ("a:", "a:", None)],
)
def test_hosts_with_and_without_ports(call: CallRecord, emit: Emit, host: str, name: str, port: int | None) -> None:
    call.http_host = host
    ecs, otel = emit(call, format="ecs")[0], emit(call, format="otel")[1]["Attributes"]
    assert (ecs["url.domain"], ecs.get("url.port")) == (name, port)
    assert (otel["server.address"], otel.get("server.port")) == (name, port)


def _timeless(line: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in line.items() if "imestamp" not in name}


@pytest.mark.parametrize("format_", ["native", "ecs", "otel"])
@pytest.mark.parametrize("host", ["api.example", "api.example:8080", "[::1]", "[::1]:80"])
def test_every_format_is_read_back_as_the_native_line(whole: CallRecord, emit: Emit, format_: str, host: str) -> None:
    whole.http_host = host
    (as_it_is,) = emit(whole, redact=())
    other = renaming(format_)
    found = native(other(as_it_is) if other is not None else as_it_is)
    assert {name: found[name] for name in as_it_is} == as_it_is


def test_what_is_no_line_of_ours_stays_what_it_is() -> None:
    for line in ({}, {"a": 1}, {"Attributes": "x"}, {"event_name": "x", "event.action": "y"}):
        assert native(line) == line
