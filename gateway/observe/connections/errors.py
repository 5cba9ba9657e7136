"""The log of connection errors: one line for each attempt that failed because of its connection, in its own stream.

What a caller did wrong (400, 404, 422 ...) is in the access log only.
"""

from collections.abc import Mapping

from gateway.observe.connections.attempts import Attempt
from gateway.observe.log.access import LEVELS, WARNING, hidden_fields, wants_pretty
from gateway.observe.log.clock import Clock
from gateway.observe.log.colours import fit_for
from gateway.observe.log.encode import Line, encode
from gateway.observe.log.events import CONNECTION_ERROR
from gateway.observe.log.formats import renaming
from gateway.observe.log.pretty import error_line
from gateway.observe.log.schema import SCHEMA
from gateway.observe.log.writer import writer_for
from gateway.record import CallRecord
from gateway.settings import Logging

LOGGER = "gateway.connection_error"
MESSAGE = "Attempt failed"
LEVEL = "warning"

_TEXTS = (
    *("request_id", "trace_id", "span_id", "policy_version", "method", "route", "operation", "entity"),
    *("tenant", "account", "connection", "upstream", "upstream_addr"),
)
"""Attributes of the record that are fields of the line; left out when empty."""


class ConnectionErrors:
    """Writes lines to `logging.connection_errors`.

    envelope  what every line says: service_name, service_version, instance, worker
    """

    def __init__(self, logging: Logging, envelope: Mapping[str, str | int]) -> None:
        self._send = writer_for(logging.connection_errors).write
        self._silent = logging.connection_errors == "off" or LEVELS[logging.level] > WARNING
        self._hidden = tuple(hidden_fields(logging))
        self._constant = {"message": MESSAGE, "event_name": CONNECTION_ERROR, "schema": SCHEMA, **envelope}
        self._rename = renaming(logging.format)
        self._pretty = fit_for(logging.connection_errors, error_line) if wants_pretty(logging) else None
        self._now = Clock().now

    def write(self, record: CallRecord, attempt: Attempt) -> None:
        """Write the line of one failed attempt. Never raises, never blocks."""
        if self._silent:
            return
        line = error_fields(record, attempt)
        for name in self._hidden:
            line.pop(name, None)
        line = {"timestamp": self._now(), "level": LEVEL, **self._constant, "logger": LOGGER, **line}
        self._send(self._pretty(line) if self._pretty is not None else encode(line, self._rename))


def error_fields(record: CallRecord, attempt: Attempt) -> Line:
    """What a line says besides the envelope; see `docs/logs.md`."""
    line: Line = {name: value for name in _TEXTS if (value := getattr(record, name))}
    line |= {
        "attempt": attempt.number,
        "last_attempt": attempt.last,
        "error_class": attempt.error_class,
        "upstream_ms": attempt.duration_ms,
    }
    if attempt.status:
        line["upstream_status"] = attempt.status
    if attempt.last:
        if record.status:  # else a connection test without an answer: it has no caller
            line["status"] = record.status
        line["duration_ms"] = round((record.ended - record.started) * 1e3, 3)
        if record.error_detail:
            line["error_detail"] = record.error_detail
        if record.upstream_retry_after_s:
            line["upstream_retry_after_s"] = record.upstream_retry_after_s
    return line
