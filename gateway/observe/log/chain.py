"""The processors an event goes through on its way to a line: envelope, traceback, secrets, names, JSON or colours."""

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any, cast

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from gateway.observe.log.clock import Clock
from gateway.observe.log.colours import wants_colours
from gateway.observe.log.crash import traceback_text
from gateway.observe.log.encode import encode
from gateway.observe.log.events import DROPPED, LIBRARY
from gateway.observe.log.formats import renaming
from gateway.observe.log.schema import SCHEMA
from gateway.observe.log.text import REDACTED, is_secret, printable, without_userinfo

TRACEBACK_CHARS = 8_192


class Chain:
    """Processors of one process. `policy_version` may change while it is in use."""

    def __init__(self, format_: str, common: Mapping[str, str | int], *, pretty_for: str) -> None:
        """`pretty_for`: where people read the lines; "" = they are for machines."""
        self.policy_version = ""
        self._common = dict(common)
        self._now = Clock().now
        self._rename = renaming(format_)
        self.prepare: Sequence[Processor] = (
            self._wrap,
            structlog.processors.ExceptionRenderer(traceback_text),
            clean,
        )
        self.render: Processor = _Console(pretty_for) if pretty_for else self._json
        self.processors: Sequence[Processor] = (*self.prepare, self.render)

    def dropped(self, count: int) -> bytes:
        """The line that says how many could not be written."""
        line: Any = {"event": "Log lines dropped", "event_name": DROPPED, "count": count}
        for processor in self.processors:
            line = processor(None, "warning", line)
        return bytes(line)

    def document(self, level: str, message: str, fields: Mapping[str, Any]) -> MutableMapping[str, Any]:
        """What a line says in native names, whatever the format of the log is; without secrets."""
        line: Any = {**fields, "event": message}
        for processor in self.prepare:
            line = processor(None, level, line)
        return cast("MutableMapping[str, Any]", line)

    def _wrap(self, _logger: WrappedLogger, level: str, given: EventDict) -> EventDict:
        line: dict[str, Any] = {
            "timestamp": self._now(),
            "level": level,
            "message": given.pop("event"),
            "event_name": given.pop("event_name", LIBRARY),
            "schema": SCHEMA,
            **self._common,
        }
        if self.policy_version:
            line["policy_version"] = self.policy_version
        line.update(given)
        return line

    def _json(self, _logger: WrappedLogger, _level: str, line: MutableMapping[str, Any]) -> bytes:
        return encode(dict(line), self._rename)


_NAMES_AN_ENTRY = "credentials"
"""Of events about tokens: what the entry in the policies is called. Nothing else of credentials is in an event."""


def clean(_logger: WrappedLogger, _level: str, line: EventDict) -> EventDict:
    """Take secrets out: by the name of the field, and as user and password in URLs."""
    for name, value in line.items():
        line[name] = _cleaned("" if name == _NAMES_AN_ENTRY else name, value)
    if "exception" in line:
        line["exception"] = line["exception"][-TRACEBACK_CHARS:]
    return line


def _cleaned(name: str, value: Any) -> Any:
    if isinstance(value, str):
        return REDACTED if is_secret(name) else without_userinfo(value)
    if isinstance(value, Mapping):
        return {key: _cleaned(str(key), item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(name, item) for item in value]
    return value


class _Console:
    """Events for people: structlog's own line, without what is the same on every line."""

    _HIDDEN = ("timestamp", "schema", "service_name", "service_version", "instance", "policy_version", "event_name")

    def __init__(self, destination: str) -> None:
        self._render: Callable[[Any, str, EventDict], str] = structlog.dev.ConsoleRenderer(
            colors=wants_colours(destination), pad_event_to=0, exception_formatter=structlog.dev.plain_traceback
        )

    def __call__(self, logger: WrappedLogger, level: str, line: EventDict) -> bytes:
        shown = {name: _shown(value) for name, value in line.items() if name not in self._HIDDEN}
        shown["timestamp"] = line["timestamp"][11:23]
        shown["event"] = shown.pop("message")
        return self._render(logger, level, shown).encode("utf-8", "replace") + b"\n"


def _shown(value: Any) -> Any:
    if isinstance(value, str):
        return "\n".join([printable(part) for part in value.split("\n")])
    return value
