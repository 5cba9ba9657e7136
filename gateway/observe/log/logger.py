"""Logging of one process: events through structlog, libraries' messages through the same chain, calls beside them.

    configure_logging(settings.logging, envelope(settings, worker=0))
    sinks = [AccessLog(settings.logging, envelope(settings, worker=0))]
    event("policy.loaded", "Policy loaded", version=policies.version)
    ...
    close_logging()

Before `configure_logging` events already go to standard output in the native format.
"""

import atexit
import logging
import sys
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from gateway import __version__
from gateway.observe.log.access import LEVELS, hidden_fields, wants_pretty
from gateway.observe.log.chain import Chain
from gateway.observe.log.stdlib import Bridge
from gateway.observe.log.writer import TELLING, LineWriter, all_writers, writer_for
from gateway.settings import Logging, Settings

__all__ = [
    "close_logging",
    "configure_logging",
    "dropped_lines",
    "envelope",
    "event",
    "event_destination",
    "hear_events",
    "hear_no_events",
    "reopen_logs",
    "use_level",
    "use_policy_version",
]

Listener = Callable[[Mapping[str, Any]], None]

SERVICE = "ratelimit-gateway"
NAMING_CALLERS = frozenset({"client_ip", "peer_ip", "tenant", "account", "connection"})
"""Fields whose values may stand in `caller` too: it is left out when one of them is."""


def envelope(settings: Settings, worker: int | None = None) -> dict[str, str | int]:
    """What every line of this process says. The supervisor has no worker number."""
    common: dict[str, str | int] = {
        "service_name": SERVICE,
        "service_version": __version__,
        "instance": settings.name,
    }
    return common if worker is None else {**common, "worker": worker}


def event_destination(logging_: Logging) -> str:
    """Events go where people look for them: to the access log's stream; when that is a file or off, to stdout."""
    return "stderr" if logging_.access == "stderr" else "stdout"


def configure_logging(settings: Logging, common: Mapping[str, str | int]) -> None:
    """Set up events and libraries' messages of this process. May be called again, for example after a fork."""
    _state.configure(settings, common)


def event(event_name: str, message: str, level: str = "info", **fields: Any) -> None:
    """Report an event. `event_name` is one of `gateway.observe.log.events.EVENTS`, `message` a constant sentence.

    fields  JSON values, units in their names; None is left out; `exc_info=True` adds the traceback
    """
    _state.event(event_name, message, level, fields)


def hear_events(listener: Listener) -> None:
    """Have this told of every event from now on, of any level, as a line in native names."""
    _state.listeners = (*_state.listeners, listener)


def hear_no_events(listener: Listener) -> None:
    """Stop telling this hearer of events. Idempotent."""
    _state.listeners = tuple(one for one in _state.listeners if one != listener)


def use_level(level: str) -> None:
    """The lowest level of events that are reported from now on."""
    _state.use_level(level)


def use_policy_version(version: str) -> None:
    """The policy set that events from now on name."""
    _state.chain.policy_version = version


def dropped_lines() -> int:
    """Lines that could not be written since this process began."""
    return sum(writer.dropped for writer in all_writers())


def reopen_logs() -> None:
    """Open log files anew: they have been rotated away. One that cannot be is told of, with the next line."""
    for writer in all_writers():
        writer.reopen()


def _tell_kept(destination: str, reason: str) -> None:
    event("log.kept", "A log file stays the old one", "error", reason=f"{destination}: {reason}")


def close_logging() -> None:
    """Write what is left (waits at most a moment) and give the standard library its logging back.

    The last thing a process does: what is told later may be lost when it ends by `os._exit`.
    """
    _state.bridge.uninstall()
    for writer in all_writers():
        writer.close()


class _Writing:
    """What structlog hands finished lines to."""

    def __init__(self, writer: LineWriter) -> None:
        self._writer = writer

    def msg(self, line: bytes) -> None:
        self._writer.write(line)
        self._writer.flush()

    debug = info = warning = error = msg


class _State:
    """The process's one configuration."""

    def __init__(self) -> None:
        self.bridge = Bridge()
        self.listeners: tuple[Listener, ...] = ()
        self._set(Logging(pretty=False), {"service_name": SERVICE, "service_version": __version__})

    def configure(self, settings: Logging, common: Mapping[str, str | int]) -> None:
        version = self.chain.policy_version
        self._set(settings, common)
        self.chain.policy_version = version
        self.bridge.install(self.chain, self._writer, LEVELS[settings.level])

    def _set(self, settings: Logging, common: Mapping[str, str | int]) -> None:
        destination = event_destination(settings)
        self._writer = writer_for(destination)
        self.chain = Chain(settings.format, common, pretty_for=destination if wants_pretty(settings) else "")
        hidden = hidden_fields(settings)
        self._hidden = hidden | {"caller"} if hidden & NAMING_CALLERS else hidden
        TELLING.dropped, TELLING.kept = self.chain.dropped, _tell_kept
        self._wrap(settings.level)

    def use_level(self, level: str) -> None:
        self.bridge.install(self.chain, self._writer, LEVELS[level])
        self._wrap(level)

    def _wrap(self, level: str) -> None:
        self._logger = structlog.wrap_logger(
            _Writing(self._writer),
            processors=self.chain.processors,
            wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
            cache_logger_on_first_use=True,
        ).bind()

    def event(self, event_name: str, message: str, level: str, fields: dict[str, Any]) -> None:
        known = {name: value for name, value in fields.items() if value is not None and name not in self._hidden}
        try:
            getattr(self._logger, level)(message, event_name=event_name, **known)
            for listener in self.listeners:
                listener(self.chain.document(level, message, {**known, "event_name": event_name}))
        except Exception as error:  # telling must not break what is told about
            print(f"gateway: cannot log {event_name}: {error!r}", file=sys.stderr)  # noqa: T201


_state = _State()
atexit.register(close_logging)
logging.lastResort = None  # a library's message before configure_logging must not appear between JSON lines
