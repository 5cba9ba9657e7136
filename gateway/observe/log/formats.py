"""Native lines in other formats: ECS (Elastic Common Schema 8) and the log record of OpenTelemetry's data model.

Names are those of `schema`; a field that has none there goes below `gateway.`.
"""

from collections.abc import Callable, Mapping
from typing import Any

from gateway.observe.log.schema import FIELDS

Line = dict[str, Any]
Spread = Mapping[str, Callable[[Any], Line]]

ECS_VERSION = "8.11.0"
SEVERITY_NUMBERS = {"debug": 5, "info": 9, "warning": 13, "error": 17}
"""OpenTelemetry's logs data model, `SeverityNumber`."""
RECORD_FIELDS = ("Timestamp", "SeverityText", "SeverityNumber", "Body", "EventName", "TraceId", "SpanId")
RESOURCE = ("service.name", "service.version", "service.instance.id")


def _host_and_port(host: str, port: str) -> Callable[[str], Line]:
    def split(value: str) -> Line:
        name, colon, number = value.rpartition(":")
        if colon and number.isdigit() and not name.endswith(":"):
            return {host: name.strip("[]"), port: int(number)}
        return {host: value.strip("[]")}

    return split


def _version(field: str) -> Callable[[str], Line]:
    return lambda protocol: {field: protocol.removeprefix("HTTP/")}


_ECS_SPREAD: Spread = {
    "duration_ms": lambda value: {"event.duration": round(value * 1_000_000)},  # nanoseconds
    "protocol": _version("http.version"),
    "http_host": _host_and_port("url.domain", "url.port"),
    "message": lambda value: {"message": value, "ecs.version": ECS_VERSION},
}


class Ecs:
    """Flat lines with dotted names, as Elastic's own loggers write them."""

    def __init__(self) -> None:
        self._names = {name: field.ecs for name, field in FIELDS.items()}

    def __call__(self, native: Line) -> Line:
        return _renamed(native, self._names, _ECS_SPREAD)


_OTEL_SPREAD: Spread = {
    "level": lambda value: {"SeverityText": value, "SeverityNumber": SEVERITY_NUMBERS[value]},
    "protocol": _version("network.protocol.version"),
    "http_host": _host_and_port("server.address", "server.port"),
}


class Otel:
    """Log records: what the data model has a field for, the resource, and attributes."""

    def __init__(self) -> None:
        self._names = {name: field.otel for name, field in FIELDS.items()}

    def flat(self, native: Line) -> Line:
        """All in one mapping."""
        return _renamed(native, self._names, _OTEL_SPREAD)

    def __call__(self, native: Line) -> Line:
        """`Attributes` is the last field."""
        attributes = self.flat(native)
        record = {name: attributes.pop(name) for name in RECORD_FIELDS if name in attributes}
        resource = {name: attributes.pop(name) for name in RESOURCE if name in attributes}
        if resource:
            record["Resource"] = resource
        record["Attributes"] = attributes
        return record


Renaming = Ecs | Otel


def renaming(format_: str) -> Renaming | None:
    """How lines become those of a `logging.format`; None for native."""
    return {"native": lambda: None, "ecs": Ecs, "otel": Otel}[format_]()


def _renamed(native: Line, names: Mapping[str, str], spread: Spread) -> Line:
    renamed = {names.get(key) or f"gateway.{key}": value for key, value in native.items()}
    for key, parts in spread.items():
        if key in native:
            del renamed[names[key]]
            renamed |= parts(native[key])
    return renamed
