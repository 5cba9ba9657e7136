"""A finished call as spans: one for the call as its caller saw it, and below it one for each attempt upstream.

What the upstream was told (`traceparent`) are the attempts' spans, so its own spans hang below them. The first
attempt's is `span_id` of the log; the call's is the one around it, and of a call that was never forwarded `span_id`.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from gateway.core.classes import NO_PLACE
from gateway.core.http.trace import outer_span
from gateway.observe.log.text import encodable
from gateway.record import CallRecord

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "QUERY"})
OTHER = "_OTHER"
"""What the semantic conventions call a method that is not well known, so that names of spans stay few."""
MAX_CHARS = 4_096
_NOT_ATTRIBUTES = ("TraceId", "SpanId", "http.request.method", "gateway.attempts")
_SERVER_FAILED, _CLIENT_FAILED = 500, 400
"""Statuses from which on a span counts as failed: a caller's own mistake is no failure of the server."""

Value = str | int | float | bool
Attributes = dict[str, Value]


class Span(NamedTuple):
    """One span, of the call (`server`) or of an attempt. Times: `time.monotonic()` seconds. `parent_id` "" = none."""

    name: str
    span_id: str
    parent_id: str
    began: float
    ended: float
    attributes: Attributes
    server: bool = False
    failed: bool = False


def spans_of(record: CallRecord, line: Mapping[str, Any]) -> list[Span]:
    """The call's span first. `line`: what the log says of the call, in the names of the format `otel`."""
    method = record.method if record.method in METHODS else OTHER
    entries = _attempts(record)
    own_id = outer_span(record.span_id) if entries else record.span_id
    own = Span(
        f"{method} {record.route}" if record.route else method,
        own_id,
        record.parent_span_id,
        record.started,
        record.ended,
        _call_attributes(record, line, method),
        server=True,
        failed=record.status >= _SERVER_FAILED,
    )
    return [own, *_attempt_spans(record, entries, method, own_id)]


def _attempts(record: CallRecord) -> list[Mapping[str, Any]]:
    """As the log tells them. A single one is not told of there; that a sandbox lets wait for itself is none."""
    if record.attempts:
        return [*record.attempts]
    if not (record.upstream_s or record.upstream_status) or record.response_source == "sandbox":
        return []
    only: dict[str, Any] = {"n": 1}
    if record.upstream_status:
        only["status"] = record.upstream_status
    if record.error_class:
        only["error_class"] = record.error_class
    elif not record.upstream_status:  # its caller broke the body off, which is the caller's error alone
        only["error_class"] = "client_error"
    return [only] if _sent(only) else []


def _sent(entry: Mapping[str, Any]) -> bool:
    """Whether there was a place for it at the upstream."""
    return entry.get("error_class") != NO_PLACE or "status" in entry


def _call_attributes(record: CallRecord, line: Mapping[str, Any], method: str) -> Attributes:
    attributes: Attributes = {"http.request.method": method}
    if method is OTHER and record.method:
        attributes["http.request.method_original"] = record.method
    for name, value in line.items():
        if name not in _NOT_ATTRIBUTES and value is not None:
            attributes[name] = _attribute(value)
    return attributes


def _attribute(value: Any) -> Value:
    """Lists (`gateway.limits`) as JSON: attributes cannot hold objects."""
    if isinstance(value, str | int | float):
        safe = encodable(value, MAX_CHARS)
        return safe if isinstance(safe, str | int | float) else str(safe)
    return orjson.dumps(value).decode()


def _attempt_spans(record: CallRecord, entries: list[Mapping[str, Any]], method: str, parent_id: str) -> list[Span]:
    """When they began is worked out from the end: what was neither the upstream's nor waiting for further attempts came
    before the first."""
    queued_s = sum(entry.get("queue_ms", 0.0) for entry in entries) / 1e3
    at = record.ended - record.upstream_s - record.retry_wait_s - queued_s
    spans = []
    for entry in entries:
        last = entry is entries[-1]
        began = at + (entry.get("wait_ms", 0.0) + entry.get("queue_ms", 0.0)) / 1e3
        at = record.ended if last else began + entry.get("upstream_ms", 0.0) / 1e3
        if not _sent(entry):
            continue
        attributes = _attempt_attributes(record, entry, method, last=last)
        failed = entry.get("status", 0) >= _CLIENT_FAILED or "error.type" in attributes
        span_id = entry.get("span_id") or record.span_id
        spans.append(Span(method, span_id, parent_id, began, max(began, at), attributes, failed=failed))
    return spans


def _attempt_attributes(record: CallRecord, entry: Mapping[str, Any], method: str, *, last: bool) -> Attributes:
    attributes: Attributes = {"http.request.method": method, "gateway.upstream": record.upstream}
    if last and record.upstream_addr:
        host, _, port = record.upstream_addr.rpartition(":")
        attributes |= {"server.address": host.strip("[]"), "network.peer.address": host.strip("[]")}
        if port.isdigit():
            attributes |= {"server.port": int(port), "network.peer.port": int(port)}
    if entry["n"] > 1:
        attributes["http.request.resend_count"] = entry["n"] - 1
    if "status" in entry:
        attributes["http.response.status_code"] = entry["status"]
    if "error_class" in entry:
        attributes["error.type"] = entry["error_class"]
    elif entry.get("status", 0) >= _CLIENT_FAILED:
        attributes["error.type"] = str(entry["status"])
    return attributes
