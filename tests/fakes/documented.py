"""Lines that a gateway logged, held against what docs/logs.md says of them (a test compares that page with the code)."""

import signal
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

import orjson

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

BEGINNING = b'{"timestamp":'
"""Of each line in native names."""


def whole_lines(log: bytes) -> list[dict[str, Any]]:
    """What a log of JSON lines says so far, without what was cut off when a process was killed. AssertionError: a line
    that is more than the beginning of one."""
    return [told for line in _ended(log) if (told := _read(line)) is not None]


def cut_by_nobody(log: bytes, events: Iterable[Mapping[str, Any]], exit_code: int | None) -> list[bytes]:
    """Lines that were cut off though fewer processes were killed. What is no line of a log is passed over.

    events     what the gateway told of itself, the deaths of its workers among it
    exit_code  its own
    """
    killed = sum(event.get("exit_code") == -signal.SIGKILL for event in events)
    cut = [line for line in _ended(log) if line.startswith(BEGINNING) and _read(line) is None]
    return cut if len(cut) > killed and exit_code != -signal.SIGKILL else []


def _ended(log: bytes) -> list[bytes]:
    return log[: log.rfind(b"\n") + 1].splitlines()


def _read(line: bytes) -> dict[str, Any] | None:
    try:
        told: dict[str, Any] = orjson.loads(line)
    except ValueError:
        assert BEGINNING.startswith(line[: len(BEGINNING)]), f"no line of a log, nor the beginning of one: {line!r}"
        assert BEGINNING not in line[1:], f"two lines in one: {line!r}"
        return None
    return told


def surprises(lines: Iterable[Mapping[str, Any]]) -> list[str]:
    """What no reader of the page would expect in these lines, in native names; lines of others are passed over."""
    kinds: set[tuple[Any, ...]] = set()  # hundreds of thousands of lines are of a few
    found: set[str] = set()
    for line in lines:
        kind = (line.get("event_name"), *line, *map(type, line.values()))
        if kind not in kinds and "event_name" in line:
            kinds.add(kind)
            found.update(_surprises(line))
    return sorted(found)


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
