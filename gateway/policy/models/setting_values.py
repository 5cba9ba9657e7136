"""The kinds of values that only settings have: how they are written, what they become, and their JSON schemas."""

import importlib.util
import re
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from gateway.control_groups import usable_cores
from gateway.core.store_url import SCHEMES, parse_url, redact_url
from gateway.core.units import SECOND_US
from gateway.policy.findings import quoted
from gateway.policy.models.scalars import Unfit, expect_text, parse_host, parse_size, parse_wait
from gateway.policy.secret import is_reference

STORE_URLS = (
    "embedded, local, redis://host:6379, unix:///path, redis+sentinel://host:26379/name, redis+cluster://host:6379, "
    "env:NAME or file:/path"
)
LEAST_WATCHDOG_US = 2_000_000
NO_STORE_URL = "is not the URL of a store"
_OTEL = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")
_COLLECTOR = re.compile(r"https?://[A-Za-z0-9._~\[\]:-]+(?:/[!-~]*)?").fullmatch
_STORE_SCHEMA = {"type": "string", "examples": ["embedded", "redis://localhost:6379", "env:REDIS_URL"]}
_SIZE_OR_NONE = {"type": "string", "pattern": "^(none|[0-9]+ ?(B|KiB|MiB|GiB))$"}
_COUNT_OR_NONE = {"anyOf": [{"type": "integer", "minimum": 1}, {"const": "none"}]}
_COLLECTOR_SCHEMA = {"type": "string", "pattern": "^(none|https?://.+)$"}
_PRETTY = {"enum": [True, False, "auto"]}
_SHARE = {"type": "number", "minimum": 0, "maximum": 1}
_SHARE_OR_NONE = {"anyOf": [_SHARE, {"const": "none"}]}
_TOKEN = {"type": "string", "pattern": "^(none|env:.+|file:.+)$"}
_DURATION_OR_OFF = {"type": "string", "pattern": "^(off|[0-9]+ ?(ms|s|m|h|d))$", "examples": ["30s"]}
_WORKERS = {"anyOf": [{"type": "integer", "minimum": 1, "maximum": 1024}, {"const": "auto"}]}
_ADDRESS_SCHEMA = {"type": "string", "pattern": ":[0-9]{1,5}$", "examples": ["127.0.0.1:8080", "[::1]:8080"]}
_ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:/\s]*)):([0-9]{1,5})").fullmatch


def _parse_address(value: object) -> tuple[str, int]:
    """`host:port` or `[v6]:port`; port 0 = any free one, no host = all addresses."""
    text = expect_text(value, "an address like 127.0.0.1:8080")
    match = _ADDRESS(text)
    if match is None or int(match[3]) > 65535:
        raise Unfit("bad-address", f"{quoted(text)} is not an address", "write it like 127.0.0.1:8080 or [::1]:8080")
    host = match[1] or match[2]
    if host.startswith("*"):
        raise Unfit("bad-address", f"{quoted(text)} is not an address", "all addresses: 0.0.0.0 or [::]")
    return (parse_host(host) if host else "0.0.0.0"), int(match[3])  # noqa: S104 - the operator asked for it


def _parse_workers(value: object) -> int:
    """A number of processes, or `auto` for one per usable core."""
    if value == "auto":
        return usable_cores()
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise Unfit("wrong-type", f"expected a number of processes or auto, got {quoted(value)}")
    if not 1 <= value <= 1024:
        raise Unfit("out-of-range", f"must be between 1 and 1024, got {value}")
    return value


def _parse_watchdog(value: object) -> int | None:
    """A duration of at least LEAST_WATCHDOG_US, or `off`. A worker that is only busy must not look as if it hung."""
    if value == "off":
        return None
    time_us = parse_wait(value)
    if time_us < LEAST_WATCHDOG_US:
        least_s = LEAST_WATCHDOG_US // SECOND_US
        raise Unfit("out-of-range", f"must be at least {least_s}s, got {quoted(value)}", "off: never")
    return time_us


def _parse_store_url(value: object) -> str:
    """`embedded`, `local`, a URL, or a reference to one. The message never contains what may be secret in it."""
    text = expect_text(value, "embedded or a URL like redis://localhost:6379")
    problem = None if is_reference(text) else store_url_problem(text)
    if problem == NO_STORE_URL:
        raise Unfit("bad-store-url", f"this {problem}", STORE_URLS)
    if problem:
        raise Unfit("bad-store-url", problem)
    return text


def store_url_problem(text: str) -> str | None:
    """Why this cannot be the place of a store; None when it can. Shows no secret."""
    if text in ("embedded", "local"):
        return None
    scheme, separator, _ = text.partition("://")
    if not separator or scheme not in SCHEMES:
        return NO_STORE_URL
    try:
        parse_url(text)
    except ValueError as error:
        return str(error).removeprefix(f"store URL {redact_url(text)}: ")
    return None


def _parse_token(value: object) -> str:
    """A token or a reference to one. The message never contains the value."""
    if not isinstance(value, str) or not value:
        raise Unfit("inline-secret", "expected env:NAME or file:/path of a token")
    return value


def _parse_count(value: object) -> int:
    """A number from 1 on."""
    number = int(value) if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value) else value
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise Unfit("wrong-type", f"expected a number of at least 1 or none, got {quoted(value)}")
    return number


def _parse_pretty(value: object) -> bool | None:
    """true, false, or `auto` for "when standard output is a terminal"."""
    words = {"auto": None, "true": True, "false": False}
    if isinstance(value, bool):
        return value
    if not isinstance(value, str) or value not in words:
        raise Unfit("unknown-value", f"expected true, false or auto, got {quoted(value)}")
    return words[value]


def _parse_collector(value: object) -> str:
    """The base URL of an OTLP/HTTP collector. The message never contains the value: it may hold a secret."""
    text = expect_text(value, "the URL of a collector or none")
    if _COLLECTOR(text) is None:
        hint = "write it like http://127.0.0.1:4318; credentials go into OTEL_EXPORTER_OTLP_HEADERS"
        raise Unfit("bad-url", "this is not the URL of a collector", hint)
    if not spans_possible():
        hint = "pip install 'ratelimit-gateway[otel]'"
        raise Unfit(
            "missing-library", "spans need the OpenTelemetry SDK and its OTLP exporter, which are missing", hint
        )
    return text


def spans_possible() -> bool:
    """Whether the libraries of the extra `otel` are there."""
    try:
        return all(importlib.util.find_spec(name) is not None for name in _OTEL)
    except ModuleNotFoundError:
        return False


def _parse_share(value: object) -> float:
    """A number from 0 to 1."""
    try:
        share = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else -1.0
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise Unfit("out-of-range", f"expected a share between 0 and 1, got {quoted(value)}")
    return share


def _or_none(parse: Callable[[object], Any]) -> BeforeValidator:
    """What `parse` takes, or `none`."""
    return BeforeValidator(lambda value: None if value == "none" else parse(value))


Address = Annotated[tuple[str, int], BeforeValidator(_parse_address), WithJsonSchema(_ADDRESS_SCHEMA)]
StoreUrl = Annotated[str, BeforeValidator(_parse_store_url), WithJsonSchema(_STORE_SCHEMA)]
Token = Annotated[str | None, _or_none(_parse_token), WithJsonSchema(_TOKEN)]
Workers = Annotated[int, BeforeValidator(_parse_workers), WithJsonSchema(_WORKERS)]
Watchdog = Annotated[int | None, BeforeValidator(_parse_watchdog), WithJsonSchema(_DURATION_OR_OFF)]
SizeOrNone = Annotated[int | None, _or_none(parse_size), WithJsonSchema(_SIZE_OR_NONE)]
CountOrNone = Annotated[int | None, _or_none(_parse_count), WithJsonSchema(_COUNT_OR_NONE)]
Share = Annotated[float, BeforeValidator(_parse_share), WithJsonSchema(_SHARE)]
ShareOrNone = Annotated[float | None, _or_none(_parse_share), WithJsonSchema(_SHARE_OR_NONE)]
Pretty = Annotated[bool | None, BeforeValidator(_parse_pretty), WithJsonSchema(_PRETTY)]
Collector = Annotated[str | None, _or_none(_parse_collector), WithJsonSchema(_COLLECTOR_SCHEMA)]
