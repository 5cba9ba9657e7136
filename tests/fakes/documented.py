"""Lines that a gateway logged, held against what docs/logs.md says of them (a test compares that page with the code)."""

from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from gateway.observe.log.events import EVENTS
from gateway.observe.log.own_fields import OWN_FIELDS
from gateway.observe.log.schema import FIELDS

TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}


def surprises(lines: Iterable[Mapping[str, Any]]) -> list[str]:
    """What no reader of the page would expect in these lines, in native names; lines of others are passed over."""
    return sorted({found for line in lines if "event_name" in line for found in _surprises(line)})


def _surprises(line: Mapping[str, Any]) -> Iterator[str]:
    event = line["event_name"]
    if event not in EVENTS:
        yield event
    for name, value in line.items():
        own = OWN_FIELDS.get(name)
        known = FIELDS.get(name) or own
        if known is None:
            yield f"{event}: {name}"
        elif not isinstance(value, TYPES[known.type]) or (isinstance(value, bool) != (known.type == "boolean")):
            yield f"{event}: {name} is {value!r}"
        elif (
            own is not None and own.events != "many" and not any(fnmatchcase(event, one) for one in own.events.split())
        ):
            yield f"{event}: {name} belongs to {own.events}"
