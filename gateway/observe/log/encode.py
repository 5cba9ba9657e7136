"""Dictionaries as bytes: one line, at most 16 KiB, valid for every reader, whatever a caller has put into it."""

from collections.abc import Mapping
from typing import Any

import orjson

from gateway.observe.log.formats import Ecs, Otel, Renaming
from gateway.observe.log.text import encodable, quiet

LINE_BYTES = 16 * 1024
SHORTER_CHARS = (4_096, 512, 64)
"""How far all texts of a line are cut that is too long, or that no encoder takes: tried in this order."""
LISTED = 16
"""Entries kept of arrays in the shortest form."""
_NEWLINE = orjson.OPT_APPEND_NEWLINE

Line = dict[str, Any]


def encode(line: Line, rename: Renaming | None = None) -> bytes:
    """The line as JSON with its newline. Never raises."""
    try:
        data = orjson.dumps(rename(line) if rename else line, option=_NEWLINE)
    except TypeError:  # lone surrogates, integers of more than 64 bits
        return _encode_safely(line, rename)
    if not data.isascii():
        data = quiet(data)
    return data if len(data) <= LINE_BYTES else _encode_safely(line, rename)


class NativeHead:
    """The beginning of native lines, encoded once: what is constant is not encoded again each time."""

    _end = -2
    """Where what such lines begin with ends in one that has nothing else."""

    def __init__(self, constant: Mapping[str, str | int], rename: Renaming | None = None) -> None:
        self._constant = dict(constant)
        self._rename = rename

    def start(self, level: str, common: Line) -> bytes:
        """What lines of this level with `common` in them begin with, after their time; b"" when it takes more care."""
        return _simple(encode({"level": level, **self._constant, **common}, self._rename)[1 : self._end])

    def more(self, common: Line) -> bytes:
        """What goes behind a start if lines have these fields in common too; b"" when it takes more care."""
        return _more(common)

    def encode(self, now: str, start: bytes, own: Line) -> bytes | None:
        """The line that begins so and goes on with `own`, as `encode` would; None when it takes more care."""
        try:
            data = b'{"timestamp":"%b",%b,%b' % (now.encode(), start, orjson.dumps(own, option=_NEWLINE)[1:])
        except TypeError:
            return None
        return data if data.isascii() and len(data) <= LINE_BYTES else None

    def encode_all(self, now: str, level: str, line: Line) -> bytes:
        """A whole line. Never raises."""
        return encode({"timestamp": now, "level": level, **self._constant, **line}, self._rename)


class EcsHead(NativeHead):
    """The same of ECS lines."""

    def __init__(self, constant: Mapping[str, str | int]) -> None:
        self._ecs = Ecs()
        super().__init__(constant, self._ecs)

    def more(self, common: Line) -> bytes:
        return _more(self._ecs(common))

    def encode(self, now: str, start: bytes, own: Line) -> bytes | None:
        try:
            encoded = orjson.dumps(self._ecs(own), option=_NEWLINE)[1:]
        except TypeError:
            return None
        data = b'{"@timestamp":"%b",%b,%b' % (now.encode(), start, encoded)
        return data if data.isascii() and len(data) <= LINE_BYTES else None


class OtelHead(NativeHead):
    """The same of OpenTelemetry's log records. What they begin with ends within `Attributes`."""

    _end = -3

    def __init__(self, constant: Mapping[str, str | int]) -> None:
        self._otel = Otel()
        super().__init__(constant, self._otel)

    def more(self, common: Line) -> bytes:
        return _more(self._otel.flat(common))

    def encode(self, now: str, start: bytes, own: Line) -> bytes | None:
        try:
            attributes = self._otel.flat(own)
            ids = b'"TraceId":"%b","SpanId":"%b",' % (
                attributes.pop("TraceId").encode(),
                attributes.pop("SpanId").encode(),
            )
            encoded = orjson.dumps(attributes)[1:]
        except (TypeError, KeyError):
            return None
        data = b'{"Timestamp":"%b",%b%b,%b}\n' % (now.encode(), ids, start, encoded)
        return data if data.isascii() and len(data) <= LINE_BYTES else None


HEADS: Mapping[str, type[NativeHead]] = {"native": NativeHead, "ecs": EcsHead, "otel": OtelHead}
"""By `logging.format`."""


def _more(fields: Line) -> bytes:
    try:
        return _simple(b"," + orjson.dumps(fields)[1:-1])
    except TypeError:
        return b""


def _simple(start: bytes) -> bytes:
    """What can be the start of many lines; b"" for what takes more care."""
    simple = len(start) <= LINE_BYTES // 2 and b'truncated":true' not in start and start.isascii()
    return start if simple else b""


def _encode_safely(line: Line, rename: Renaming | None) -> bytes:
    data = b""
    for max_chars in SHORTER_CHARS:
        shorter = _shorter(line, max_chars)
        data = quiet(orjson.dumps(rename(shorter) if rename else shorter, option=_NEWLINE))
        if len(data) <= LINE_BYTES:
            break
    return data


def _shorter(line: Line, max_chars: int) -> Line:
    """The line with its texts cut, and with its arrays cut in the shortest form; says so if anything was."""
    listed = LISTED if max_chars == SHORTER_CHARS[-1] else None
    shorter = {}
    cut = False
    for key, value in line.items():
        if isinstance(value, orjson.Fragment):
            value = orjson.loads(orjson.dumps(value))  # noqa: PLW2901
        if isinstance(value, list):
            cut = cut or (listed is not None and len(value) > listed)
            value = value[:listed]  # noqa: PLW2901
        cut = cut or (isinstance(value, str) and len(value) > max_chars)
        shorter[key] = encodable(value, max_chars)
    return shorter | {"truncated": True} if cut else shorter
