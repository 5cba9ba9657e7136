"""Lines in any format turned back into native ones: for whoever reads logs, whatever `logging.format` was."""

from collections.abc import Callable, Mapping
from typing import Any

from gateway.core.http.authority import authority
from gateway.observe.log.schema import FIELDS

Line = Mapping[str, Any]
Native = dict[str, Any]
_BEHIND = "gateway."


def native(line: Line) -> Line:
    """The native line; what is none of ours comes back as it is."""
    if "event_name" in line:
        return line
    if "event.action" in line:
        return _from(line, _OF_ECS, _ECS_VALUES)
    if isinstance(line.get("Attributes"), dict):
        flat = {**line, **line["Attributes"], **_mapping(line.get("Resource"))}
        return _from(flat, _OF_OTEL, _OTEL_VALUES)
    return line


def _mapping(value: Any) -> Line:
    return value if isinstance(value, dict) else {}


def _from(line: Line, names: Mapping[str, str], values: Mapping[str, Callable[[Any], Any]]) -> Native:
    found: Native = {}
    for key, value in line.items():
        name = names.get(key) or key.removeprefix(_BEHIND)
        found[name] = values[key](value) if key in values else value
    if "http_host" in found:
        found["http_host"] = authority(str(found["http_host"]), found.get("url.port", found.get("server.port")))
    return found


def _protocol(version: Any) -> str:
    return f"HTTP/{version}"


_OF_ECS = {field.ecs: name for name, field in FIELDS.items()}
_ECS_VALUES: Mapping[str, Callable[[Any], Any]] = {
    "event.duration": lambda nanoseconds: nanoseconds / 1_000_000,
    "http.version": _protocol,
}
_OF_OTEL = {field.otel: name for name, field in FIELDS.items()}
_OTEL_VALUES: Mapping[str, Callable[[Any], Any]] = {"network.protocol.version": _protocol}
