"""The access log: a sink that writes one line per call."""

from collections.abc import Callable, Mapping
from typing import Any

from gateway.core.ask import UsedUp
from gateway.observe.log.clock import Clock
from gateway.observe.log.colours import fit_for
from gateway.observe.log.encode import HEADS
from gateway.observe.log.events import ACCESS
from gateway.observe.log.line import Line, call_line, common_line, own_line, repeated_line, repeating_line, repeats
from gateway.observe.log.pretty import access_line
from gateway.observe.log.schema import SCHEMA
from gateway.observe.log.writer import is_terminal, writer_for
from gateway.record import CALLER, CallRecord
from gateway.settings import Logging

MESSAGE = "Call finished"
DEBUG, INFO, WARNING, ERROR = 10, 20, 30, 40
LEVELS = {"debug": DEBUG, "info": INFO, "warning": WARNING, "error": ERROR}
HIDEABLE = frozenset({"client_ip", "peer_ip", "tenant", "account", "connection", "http_user_agent", "http_referer"})
"""Fields that `logging.redact` may name besides `query`; authorization and cookies are never in a line."""

Write = Callable[[bytes], None]
Encode = Callable[[str, str, Line], bytes]
"""(timestamp, level, line) as one line of bytes."""


def hidden_fields(logging: Logging) -> frozenset[str]:
    """What `logging.redact` leaves out of every line."""
    return HIDEABLE & {name.lower() for name in logging.redact}


class AccessLog:
    """A `RecordSink`. 5xx of our own making are warnings, everything else is info.

    envelope  what every line says: service_name, service_version, instance, worker
    """

    def __init__(self, logging: Logging, envelope: Mapping[str, str | int]) -> None:
        self._write: Write = writer_for(logging.access).write
        self._lowest = LEVELS[logging.level]
        self._with_query = "query" not in {name.lower() for name in logging.redact}
        self._hidden = tuple(hidden_fields(logging))
        self._hidden_of_callers = tuple(hidden_fields(logging) & {*CALLER})
        self._now = Clock().now
        constant = self._constant = {"message": MESSAGE, "event_name": ACCESS, "schema": SCHEMA, **envelope}
        self._head = HEADS[logging.format](constant)
        self._in_parts = not wants_pretty(logging)
        self._failed, self._fine = [(level, f"{level} {logging.format}") for level in ("warning", "info")]
        self._encode: Encode = self._head.encode_all if self._in_parts else fit_for(logging.access, access_line)

    def use_level(self, level: str) -> None:
        """The lowest level of lines that are written from now on."""
        self._lowest = LEVELS[level]

    def emit(self, record: CallRecord) -> None:
        """Write the record's line. Never raises, never blocks."""
        own_failure = record.status >= 500 and record.response_source != "upstream"
        if (WARNING if own_failure else INFO) < self._lowest:
            return
        level, key = self._failed if own_failure else self._fine
        data = self._from_parts(record, level, key) if record.notes is not None and self._in_parts else None
        self._write(data or self._encode(self._now(), level, self._shown(call_line, record)))

    def _from_parts(self, record: CallRecord, level: str, key: str) -> bytes | None:
        """The line, with what other calls' lines say as well encoded once for all of them; None when it takes more
        care."""
        notes: dict[Any, Any] = record.notes  # type: ignore[assignment]  # asked before
        start, refused = notes.get(key), record.ask.used_up
        if start is None:
            start = notes[key] = self._head.start(level, self._shown(common_line, record))
        if refused is not None and repeats(record, refused):
            more = self._repeated(record, refused)
            own = repeating_line(record, with_query=self._with_query)
            return self._head.encode(self._now(), start + more, own) if start and more else None
        own = own_line(record, with_query=self._with_query)
        for name in self._hidden_of_callers:
            own.pop(name, None)
        return self._head.encode(self._now(), start, own) if start else None

    def _repeated(self, record: CallRecord, refused: UsedUp) -> bytes:
        """What such calls have in common: thousands a second may be refused for the same reasons. b"" when it takes
        more care."""
        known: tuple[object, bytes] | None = refused.logged
        if known is None or known[0] is not self._head:
            line = repeated_line(record)
            for name in self._hidden_of_callers:
                line.pop(name, None)
            known = refused.logged = self._head, self._head.more(line)
        return known[1]

    def document(self, record: CallRecord) -> Line:
        """What a line says in native names, whatever the format of the log is: secrets and all that is redacted are
        not in it."""
        own_failure = record.status >= 500 and record.response_source != "upstream"
        level = "warning" if own_failure else "info"
        return {"timestamp": self._now(), "level": level, **self._constant, **self._shown(call_line, record)}

    def emit_whole(self, record: CallRecord, more: Line) -> None:
        """Write the line of a call that is no failure of ours, with `more` in it."""
        if self._lowest <= INFO:
            self._write(self._encode(self._now(), "info", {**self._shown(call_line, record), **more}))

    def _shown(self, make: Callable[..., Line], record: CallRecord) -> Line:
        line = make(record, with_query=self._with_query)
        for name in self._hidden:
            line.pop(name, None)
        return line


def wants_pretty(logging: Logging) -> bool:
    """Lines for people: when asked for, or when nothing was said and a terminal reads them."""
    return is_terminal(logging.access) if logging.pretty is None else logging.pretty
