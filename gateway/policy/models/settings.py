"""What may stand in the settings file, with every default. One model per section of `config/gateway.yaml`."""

import importlib.util
import re
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from gateway.core.store_url import SCHEMES, parse_url, redact_url
from gateway.core.units import SECOND_US
from gateway.policy.cores import usable_cores
from gateway.policy.findings import quoted
from gateway.policy.models.hooks import Webhooks
from gateway.policy.models.intake import Intake
from gateway.policy.models.log_place import LogPlace
from gateway.policy.models.networks import Network
from gateway.policy.models.scalars import (
    Duration,
    Size,
    Unfit,
    Units,
    Wait,
    expect_text,
    parse_host,
    parse_size,
    parse_wait,
)
from gateway.policy.models.strict import Items, Strict
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
_ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:/\s]*)):([0-9]{1,5})").fullmatch


def parse_address(value: object) -> tuple[str, int]:
    """`host:port` or `[v6]:port`; port 0 = any free one, no host = all addresses."""
    text = expect_text(value, "an address like 127.0.0.1:8080")
    match = _ADDRESS(text)
    if match is None or int(match[3]) > 65535:
        raise Unfit("bad-address", f"{quoted(text)} is not an address", "write it like 127.0.0.1:8080 or [::1]:8080")
    host = match[1] or match[2]
    if host.startswith("*"):
        raise Unfit("bad-address", f"{quoted(text)} is not an address", "all addresses: 0.0.0.0 or [::]")
    return (parse_host(host) if host else "0.0.0.0"), int(match[3])  # noqa: S104 - the operator asked for it


def parse_workers(value: object) -> int:
    """A number of processes, or `auto` for one per usable core."""
    if value == "auto":
        return usable_cores()
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,4}", value):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise Unfit("wrong-type", f"expected a number of processes or auto, got {quoted(value)}")
    if not 1 <= value <= 1024:
        raise Unfit("out-of-range", f"must be between 1 and 1024, got {value}")
    return value


def parse_watchdog(value: object) -> int | None:
    """A duration of at least LEAST_WATCHDOG_US, or `off`. A worker that is only busy must not look as if it hung."""
    if value == "off":
        return None
    time_us = parse_wait(value)
    if time_us < LEAST_WATCHDOG_US:
        least_s = LEAST_WATCHDOG_US // SECOND_US
        raise Unfit("out-of-range", f"must be at least {least_s}s, got {quoted(value)}", "off: never")
    return time_us


def parse_store_url(value: object) -> str:
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


def parse_token(value: object) -> str | None:
    """A token or a reference to one, or `none`. The message never contains the value."""
    if value == "none":
        return None
    if not isinstance(value, str) or not value:
        raise Unfit("inline-secret", "expected env:NAME or file:/path of a token")
    return value


def parse_count(value: object) -> int:
    """A number from 1 on."""
    number = int(value) if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value) else value
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise Unfit("wrong-type", f"expected a number of at least 1 or none, got {quoted(value)}")
    return number


def parse_pretty(value: object) -> bool | None:
    """true, false, or `auto` for "when standard output is a terminal"."""
    words = {"auto": None, "true": True, "false": False}
    if isinstance(value, bool):
        return value
    if not isinstance(value, str) or value not in words:
        raise Unfit("unknown-value", f"expected true, false or auto, got {quoted(value)}")
    return words[value]


def parse_collector(value: object) -> str | None:
    """The base URL of an OTLP/HTTP collector, or `none`. The message never contains the value: it may hold a secret."""
    if value == "none":
        return None
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


def parse_share(value: object) -> float:
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


SizeOrNone = Annotated[int | None, _or_none(parse_size), WithJsonSchema(_SIZE_OR_NONE)]
CountOrNone = Annotated[int | None, _or_none(parse_count), WithJsonSchema(_COUNT_OR_NONE)]
Share = Annotated[float, BeforeValidator(parse_share), WithJsonSchema(_SHARE)]
ShareOrNone = Annotated[float | None, _or_none(parse_share), WithJsonSchema(_SHARE_OR_NONE)]


def _as_listener(value: object) -> object:
    return value if value is None or isinstance(value, dict) else {"address": value}


def _as_admin(value: object) -> object:
    return None if value == "off" else _as_listener(value)


class TlsFiles(Strict):
    """PEM files."""

    certificate: str = Field(min_length=1)
    key: str = Field(min_length=1)


class Listener(Strict):
    """One listening address."""

    address: Annotated[
        tuple[str, int],
        BeforeValidator(parse_address),
        WithJsonSchema({"type": "string", "pattern": ":[0-9]{1,5}$", "examples": ["127.0.0.1:8080", "[::1]:8080"]}),
    ]
    tls: TlsFiles | None = None


class Store(Strict):
    """Where counters live."""

    url: Annotated[str, BeforeValidator(parse_store_url), WithJsonSchema(_STORE_SCHEMA)] = "embedded"
    key_prefix: str = Field(default="gw:", pattern=r"^[A-Za-z0-9:._-]{0,32}$")
    timeout: Duration = 20_000
    gateways: int = Field(default=1, ge=1, le=10_000)


class Headers(Strict):
    """Which fields answers and forwarded requests carry."""

    ratelimit: Literal["draft", "off"] = "draft"
    legacy: Literal["x-ratelimit", "off"] = "x-ratelimit"
    legacy_reset: Literal["delta_seconds", "epoch_seconds"] = "delta_seconds"
    proxy_status: Literal["errors", "always", "off"] = "errors"
    server_timing: bool = False
    forwarded: Literal["forwarded", "x-forwarded", "both", "off"] = "forwarded"
    problem_base: str = Field(default="about:blank", pattern=r"^(about:blank|https?://[\x21-\x7e]+)$")


class Bounds(Strict):
    """What a caller may use of the gateway."""

    header_bytes: Size = 32 * 1024
    target_bytes: Size = 16 * 1024
    body_bytes: SizeOrNone = None
    header_count: Units = 128
    header_time: Duration = 10_000_000
    body_time: Duration = 30_000_000
    idle_time: Duration = 75_000_000
    calls_in_flight: Units = 10_000
    sockets: Units = 20_000
    sockets_per_ip: CountOrNone = None
    response_header_bytes: Size = 64 * 1024


class Drain(Strict):
    """How the gateway stops."""

    delay: Wait = 5_000_000
    grace: Wait = 30_000_000


class Sample(Strict):
    """Which of the lines about calls are written; all others always are."""

    success: Share = 1.0
    limited_per_s: CountOrNone = None


class Logging(Strict):
    """What is logged, where, and how."""

    format: Literal["native", "ecs", "otel"] = "native"
    access: LogPlace = "stdout"
    connection_errors: LogPlace = "stdout"
    redact: Items[str] = ("authorization", "cookie", "query")
    level: Literal["debug", "info", "warning", "error"] = "info"
    pretty: Annotated[bool | None, BeforeValidator(parse_pretty), WithJsonSchema(_PRETTY)] = None
    sample: Sample = Sample()


class Traces(Strict):
    """Spans for OpenTelemetry."""

    endpoint: Annotated[str | None, BeforeValidator(parse_collector), WithJsonSchema(_COLLECTOR_SCHEMA)] = None
    sample: Share = 1.0


class Alerts(Strict):
    """When an upstream is to be told of; none = never."""

    error_rate: ShareOrNone = None
    auth_failures: CountOrNone = None
    calls: Units = 20
    over: Duration = 60_000_000


class SettingsFile(Strict):
    """The settings of one gateway process."""

    version: Literal[1] = 1
    name: str = Field(default="gateway", pattern=r"^[A-Za-z][A-Za-z0-9._-]{0,63}$")
    listen: Annotated[Listener, BeforeValidator(_as_listener)] = Field(default="127.0.0.1:8080", validate_default=True)
    admin: Annotated[Listener | None, BeforeValidator(_as_admin)] = Field(
        default="127.0.0.1:9090", validate_default=True
    )
    admin_token: Annotated[str | None, BeforeValidator(parse_token), WithJsonSchema(_TOKEN)] = None
    workers: Annotated[int, BeforeValidator(parse_workers), WithJsonSchema(_WORKERS)] = 1
    watchdog: Annotated[int | None, BeforeValidator(parse_watchdog), WithJsonSchema(_DURATION_OR_OFF)] = 30_000_000
    policies: str = Field(default="../policies", min_length=1)
    trusted_proxies: Items[Network] = ()
    store: Store = Store()
    headers: Headers = Headers()
    bounds: Bounds = Bounds()
    drain: Drain = Drain()
    logging: Logging = Logging()
    traces: Traces = Traces()
    alerts: Alerts = Alerts()
    webhooks: Webhooks = Webhooks()
    intake: Intake = Intake()
