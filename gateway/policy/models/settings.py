"""What may stand in the settings file, with every default. One model per section of `config/gateway.yaml`."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from gateway.policy.models.hooks import Webhooks
from gateway.policy.models.intake import Intake
from gateway.policy.models.log_place import LogPlace
from gateway.policy.models.networks import Network
from gateway.policy.models.scalars import Duration, Size, Units, Wait
from gateway.policy.models.setting_values import (
    Address,
    Collector,
    CountOrNone,
    Pretty,
    Share,
    ShareOrNone,
    SizeOrNone,
    StoreUrl,
    Token,
    Watchdog,
    Workers,
)
from gateway.policy.models.strict import Items, Strict


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

    address: Address
    tls: TlsFiles | None = None


class Store(Strict):
    """Where counters live."""

    url: StoreUrl = "embedded"
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
    pretty: Pretty = None
    sample: Sample = Sample()


class Traces(Strict):
    """Spans for OpenTelemetry."""

    endpoint: Collector = None
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
    admin_token: Token = None
    admin_read_token: Token = None
    workers: Workers = 1
    watchdog: Watchdog = 30_000_000
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
