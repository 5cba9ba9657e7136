"""The small texts of the language: durations, sizes, percents, names, header fields, hosts.

Each `parse_*` takes what the file says and returns the value that the rest of the gateway works with, or raises
`Unfit` with one sentence. The annotated types below put them into the models.
"""

import re
from difflib import get_close_matches
from fractions import Fraction
from typing import Annotated, Any, TypeVar
from zoneinfo import ZoneInfo, available_timezones

from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from gateway.core.calendars import Unit
from gateway.core.units import DAY_US, HOUR_US, MINUTE_US, SECOND_US
from gateway.policy.findings import quoted
from gateway.policy.words import did_you_mean

UNITS_US = {"ms": 1_000, "s": SECOND_US, "m": MINUTE_US, "h": HOUR_US, "d": DAY_US}
MAX_DURATION_US = 800 * UNITS_US["d"]
UNITS_BYTES = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}

_LONG_UNITS = {"sec": "s", "second": "s", "min": "m", "minute": "m", "hour": "h", "hr": "h", "day": "d"}

_AMOUNT = re.compile(r"([0-9]{1,12})[ ]?([A-Za-zµ]*)").fullmatch
_CALENDAR_UNITS = tuple(Unit)
SENTENCE = r"[^\x00-\x1f\x7f]{1,500}"
_ZONE_NAME = r"[A-Z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*"
_ZONE = re.compile(_ZONE_NAME).fullmatch
_FRACTION = re.compile(r"[0-9]*\.[0-9]+\s*[A-Za-z]+").fullmatch
_PLAIN = re.compile(r"[0-9]+(ms|[smhd])").fullmatch
_PIECE = r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|[smhdw])"
_PIECES = re.compile(f"(?:{_PIECE})+").fullmatch
NAME = r"[A-Za-z0-9._-]{1,64}"
TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}"  # RFC 9110 §5.6.2
_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"(\*\.)?{_LABEL}(\.{_LABEL})*|\[[0-9a-f:.]+\]|[0-9a-f:]*:[0-9a-f:.]*").fullmatch


class Unfit(PydanticCustomError):
    """A text that is not what it should be. `code` is the finding's code."""

    def __new__(cls, code: str, message: str, hint: str = "") -> "Unfit":
        return super().__new__(cls, code, "{message}", {"message": message, "hint": hint})


def expect_text(value: object, example: str) -> str:
    """`value` if it is text."""
    if not isinstance(value, str):
        raise Unfit("wrong-type", f"expected {example}, got {described(value)}")
    return value


def described(value: object) -> str:
    """A value as a message names it, with its kind."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"the text {quoted(value)}"
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    return f"the number {value}"


def _amount(value: object, units: dict[str, int], kind: str, example: str) -> int:
    """`<number><unit>` as an integer of the smallest unit."""
    text = expect_text(value, f"a {kind} like {example}")
    if _FRACTION(text):
        raise Unfit(f"bad-{kind}", f"{quoted(text)} is not a {kind}", "whole numbers only; use a smaller unit")
    match = _AMOUNT(text)
    if match is None:
        unit = _LONG_UNITS.get(text.lower(), "")
        hint = f"write 1{unit}" if unit in units else f"write it like {example}"
        raise Unfit(f"bad-{kind}", f"{quoted(text)} is not a {kind}", hint)
    if match[2] not in units:
        known = ", ".join(units)
        missing = (
            f"{quoted(text)} has no unit" if not match[2] else f"unknown unit {quoted(match[2])} in {quoted(text)}"
        )
        unit = _LONG_UNITS.get(match[2].lower().removesuffix("s"), "")
        raise Unfit(f"bad-{kind}", missing, f"write {match[1]}{unit}" if unit in units else f"units: {known}")
    return int(match[1]) * units[match[2]]


def _in_one_unit(text: str) -> str:
    """How a duration of other languages is written here, such as `90s` for `1m30s`; "" = it is none, or is right."""
    if _PLAIN(text) or not _PIECES(text):
        return ""
    units_us = {**UNITS_US, "w": 7 * UNITS_US["d"]}
    whole_us = sum(Fraction(number) * units_us[unit] for number, unit in re.findall(_PIECE, text))
    fitting = [unit for unit, unit_us in UNITS_US.items() if whole_us and whole_us % unit_us == 0]
    return f"{whole_us / UNITS_US[fitting[-1]]}{fitting[-1]}" if fitting else ""


def parse_duration(value: object) -> int:
    """`250ms`, `30s`, `10m`, `24h`, `7d` in microseconds; more than 0, at most 800 days."""
    if value in _CALENDAR_UNITS:
        hint = "only a fixed_window counts by the calendar"
        raise Unfit("bad-duration", f"{quoted(value)} is not a duration", hint)
    if isinstance(value, str) and (other := _in_one_unit(value)):
        raise Unfit("bad-duration", f"{quoted(value)} is not a duration", f"write {other}")
    duration_us = _amount(value, UNITS_US, "duration", "30s or 10m")
    if not 0 < duration_us <= MAX_DURATION_US:
        raise Unfit("out-of-range", f"a duration must be more than 0 and at most 800d, got {quoted(value)}")
    return duration_us


def parse_window(value: object) -> int | Unit:
    """A duration in microseconds; or `day`, `week`, `month`."""
    if isinstance(value, str) and value in _CALENDAR_UNITS:
        return Unit(value)
    if isinstance(value, str) and value.isalpha():
        hint = did_you_mean(value, _CALENDAR_UNITS)
        unit = _LONG_UNITS.get(value.lower(), "")
        other = f"write 1{unit}" if unit else "write it like 10m, or day, week, month"
        hint = hint if hint.startswith("did") else other
        raise Unfit("bad-duration", f"{quoted(value)} is not a window", hint)
    return parse_duration(value)


def parse_zone(value: object) -> str:
    """The name of a time zone that this host knows: `Europe/Berlin`, `UTC`.

    Not of a file that only looks like one: `localtime` is another zone on every host.
    """
    text = expect_text(value, "a time zone like Europe/Berlin")
    try:
        if not _ZONE(text):
            raise ValueError(text)
        ZoneInfo(text)
    except (KeyError, ValueError, OSError):
        message = f"{quoted(text)} is not a time zone that this host knows"
        raise Unfit("unknown-timezone", message, _close_zone(text)) from None
    return text


def _close_zone(text: str) -> str:
    """`europe/berlin`, `Berlin` and `Europe/Berlni` mean Europe/Berlin."""
    zones = {zone.lower(): zone for zone in available_timezones()}
    cities = {name.rpartition("/")[2]: zone for name, zone in zones.items()}
    word = text.strip().lower().replace(" ", "_")
    close = get_close_matches(word, [*zones, *cities], n=1, cutoff=0.75)
    if not close:
        return "names of the IANA time zone database, like Europe/Berlin or UTC"
    return f"did you mean '{zones.get(close[0]) or cities[close[0]]}'?"


def parse_bound(value: object) -> int:
    """A duration, or `none` for no bound, which is 0."""
    return 0 if value == "none" else parse_duration(value)


def parse_wait(value: object) -> int:
    """A duration that may be `0s`."""
    return 0 if isinstance(value, str) and re.fullmatch(r"0(ms|s)", value) else parse_duration(value)


def parse_size(value: object) -> int:
    """`512B`, `32KiB`, `1MiB`, `2GiB` in bytes, more than 0."""
    size_bytes = _amount(value, UNITS_BYTES, "size", "32KiB")
    if not 0 < size_bytes < 2**53:
        raise Unfit("out-of-range", f"a size must be more than 0, got {quoted(value)}")
    return size_bytes


def parse_percent(value: object) -> float:
    """`50%` as 0.5; more than 0, at most 100 %."""
    text = expect_text(value, "a percentage like 50%")
    match = re.fullmatch(r"([0-9]{1,3}(?:\.[0-9]{1,3})?)%", text)
    if match is None:
        raise Unfit("bad-percent", f"{quoted(text)} is not a percentage", "write it like 50%")
    if not 0 < float(match[1]) <= 100:
        raise Unfit("out-of-range", f"a percentage must be more than 0% and at most 100%, got {quoted(text)}")
    return float(match[1]) / 100


OWN_EACH_CALL = frozenset({"x-request-id", "traceparent"})
"""Request fields that are each call's own and that the gateway writes itself: nothing is matched or counted by them."""


def parse_header_name(value: object) -> str:
    """A field name (RFC 9110 §5.1) in lower case."""
    text = expect_text(value, "a header name")
    if not re.fullmatch(TOKEN, text):
        raise Unfit("bad-header-name", f"{quoted(text)} is not a header name")
    return text.lower()


def parse_sentence(value: object) -> str:
    """One line of text for callers."""
    text = expect_text(value, "a sentence")
    if re.fullmatch(SENTENCE, text) is None:
        raise Unfit("bad-value", f"{quoted(text)} is not one line of 1 to 500 characters")
    return text


def parse_pointer(value: object) -> tuple[str, ...]:
    """A JSON pointer (RFC 6901 §3) like `/usage/total_tokens` as its reference tokens."""
    text = expect_text(value, "a JSON pointer like /usage/total_tokens")
    if not text.startswith("/") or len(text) > 256 or re.search(r"~(?![01])", text):
        raise Unfit("bad-pointer", f"{quoted(text)} is not a JSON pointer", "write it like /usage/total_tokens")
    return tuple(token.replace("~1", "/").replace("~0", "~") for token in text.split("/")[1:])


MOST_POINTERS = 8


def parse_sums(value: object) -> tuple[tuple[tuple[str, ...], ...], ...]:
    """A JSON pointer; or a list of those to add up, in which a list is as many places for one number."""
    return tuple(tuple(parse_pointer(place) for place in _several(places)) for places in _several(value))


def _several(value: object) -> list[object]:
    values: list[object] = value if isinstance(value, list) else [value]
    if not 1 <= len(values) <= MOST_POINTERS:
        raise Unfit("out-of-range", f"expected 1 to {MOST_POINTERS} JSON pointers, got {len(values)}")
    return values


_EVERY_METHOD = ("*", "ALL", "ANY")


def parse_method(value: object) -> str:
    """A method name (RFC 9110 §9.1) in upper case."""
    text = expect_text(value, "a method like GET")
    if text.upper() in _EVERY_METHOD:
        raise Unfit("bad-method", f"{quoted(text)} is not a method", "without `method` it is any")
    if not re.fullmatch(TOKEN, text):
        raise Unfit("bad-method", f"{quoted(text)} is not a method")
    return text.upper()


def parse_host(value: object) -> str:
    """A host name in lower case, without port; `*.example.com` for every name below."""
    text = expect_text(value, "a host name").lower()
    if not _HOST(text):
        hint = "no port, no scheme; only the first label may be *"
        raise Unfit("bad-host", f"{quoted(text)} is not a host name", hint)
    return text


def is_name(text: str) -> bool:
    """Whether the text may name a limit, a route and so on: it appears unquoted in headers, logs and store keys."""
    return re.fullmatch(NAME, text) is not None


def as_list(value: object) -> object:
    """One value where a list may stand."""
    return [value] if isinstance(value, str) else value


def text_schema(kind: str, pattern: str, example: str) -> Any:
    """What editors are told of such a text."""
    return WithJsonSchema({"type": "string", "title": kind, "pattern": pattern, "examples": [example]})


_DURATION = r"^[0-9]+ ?(ms|s|m|h|d)$"
Duration = Annotated[int, BeforeValidator(parse_duration), text_schema("Duration", _DURATION, "10m")]
Window = Annotated[
    int | Unit,
    BeforeValidator(parse_window),
    text_schema("Duration, or by the calendar", r"^([0-9]+ ?(ms|s|m|h|d)|day|week|month)$", "month"),
]
Zone = Annotated[str, BeforeValidator(parse_zone), text_schema("Time zone (IANA)", f"^{_ZONE_NAME}$", "Europe/Berlin")]
DurationBound = Annotated[
    int, BeforeValidator(parse_bound), text_schema("Duration or none", r"^([0-9]+ ?(ms|s|m|h|d)|none)$", "60s")
]
Wait = Annotated[int, BeforeValidator(parse_wait), text_schema("Duration, 0s allowed", _DURATION, "5s")]
Size = Annotated[int, BeforeValidator(parse_size), text_schema("Size", r"^[0-9]+ ?(B|KiB|MiB|GiB)$", "32KiB")]
Percent = Annotated[float, BeforeValidator(parse_percent), text_schema("Percentage", r"^[0-9]+(\.[0-9]+)?%$", "50%")]
HeaderName = Annotated[str, BeforeValidator(parse_header_name), text_schema("Header name", f"^{TOKEN}$", "X-Tenant-Id")]
Sentence = Annotated[
    str, BeforeValidator(parse_sentence), text_schema("One line of text", f"^{SENTENCE}$", "Ask sales for more.")
]
Pointer = Annotated[
    tuple[str, ...], BeforeValidator(parse_pointer), text_schema("JSON pointer", "^/", "/usage/total_tokens")
]
_POINTER = {"type": "string", "title": "JSON pointer", "pattern": "^/"}
_PLACES = {"type": "array", "minItems": 1, "maxItems": MOST_POINTERS, "items": _POINTER}
Sums = Annotated[
    tuple[tuple[tuple[str, ...], ...], ...],
    BeforeValidator(parse_sums),
    WithJsonSchema({"anyOf": [_POINTER, {**_PLACES, "items": {"anyOf": [_POINTER, _PLACES]}}]}),
]
Method = Annotated[str, BeforeValidator(parse_method), text_schema("Method", f"^{TOKEN}$", "GET")]
Host = Annotated[str, BeforeValidator(parse_host), text_schema("Host", r"^[^/]+$", "api.example.com")]
Units = Annotated[int, Field(ge=1)]

_T = TypeVar("_T")
OneOrMore = Annotated[
    tuple[_T, ...],
    BeforeValidator(as_list),
    Field(strict=False, min_length=1, json_schema_extra={"type": ["string", "array"]}),
]
