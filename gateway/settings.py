"""Process settings: what `config/gateway.yaml` says, as frozen values with their defaults.

Read by `gateway.policy.settings_file`; precedence is flag > environment > .env > file > default.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

from gateway.core.http.authority import authority
from gateway.core.watching.alerts import Thresholds
from gateway.core.webhooks.intake import Source
from gateway.core.webhooks.receivers import Subscription

KIB = 1024
MIN_TOKEN_CHARS = 16


@dataclass(frozen=True, slots=True)
class Tls:
    """Certificate and key of a listener (PEM files)."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Listen:
    """One listening address."""

    host: str
    port: int
    tls: Tls | None = None

    def __str__(self) -> str:
        return authority(self.host, self.port)


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """`url` may carry credentials: never log it; `gateway.core.store_url.redact_url` gives the safe form.

    `gateways`: how many share the limits, as long as the store has not said it.
    """

    url: str = "embedded"
    key_prefix: str = "gw:"
    timeout_us: int = 20_000
    gateways: int = 1


@dataclass(frozen=True, slots=True)
class HeaderSettings:
    """Which fields answers carry. `docs/headers.md` describes each."""

    ratelimit: str = "draft"  # draft | off
    legacy: str = "x-ratelimit"  # x-ratelimit | off
    legacy_reset: str = "delta_seconds"  # delta_seconds | epoch_seconds
    proxy_status: str = "errors"  # errors | always | off
    server_timing: bool = False
    forwarded: str = "forwarded"  # forwarded | x-forwarded | both | off
    problem_base: str = "about:blank"


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a caller, and the head of an upstream's answer, may use of us. None = no bound."""

    header_bytes: int = 32 * KIB
    target_bytes: int = 16 * KIB
    body_bytes: int | None = None
    header_count: int = 128
    header_time_us: int = 10_000_000
    body_time_us: int = 30_000_000
    idle_time_us: int = 75_000_000
    calls_in_flight: int = 10_000
    sockets: int = 20_000
    sockets_per_ip: int | None = None
    response_header_bytes: int = 64 * KIB


@dataclass(frozen=True, slots=True)
class Drain:
    """`delay`: how long readiness fails before we stop accepting; `grace`: the most that calls may still take."""

    delay_us: int = 5_000_000
    grace_us: int = 30_000_000


@dataclass(frozen=True, slots=True)
class Sample:
    """Which of the lines about calls are written; all others always are."""

    success: float = 1.0  # share of those about calls that went well
    limited_per_s: int | None = None  # of those about refused calls, a second and worker; None = all


@dataclass(frozen=True, slots=True)
class Logging:
    """`access` and `connection_errors` are `stdout`, `stderr`, `off` or a file path."""

    format: str = "native"  # native | ecs | otel
    access: str = "stdout"
    connection_errors: str = "stdout"
    redact: tuple[str, ...] = ("authorization", "cookie", "query")
    level: str = "info"
    pretty: bool | None = None  # None: pretty when stdout is a terminal
    sample: Sample = field(default_factory=Sample)


@dataclass(frozen=True, slots=True)
class Traces:
    """Spans for OpenTelemetry. `endpoint` is a collector's base URL; None = no spans. `sample`: share of the traces
    begun here."""

    endpoint: str | None = None
    sample: float = 1.0


@dataclass(frozen=True, slots=True)
class Webhooks:
    """Events told to others. No targets = nothing is told. `allow` is part of the targets already."""

    targets: tuple[Subscription, ...] = ()
    allow: tuple[str, ...] = ()
    most_waiting: int = 10_000  # per target


@dataclass(frozen=True, slots=True)
class IntakeSettings:
    """Webhooks of others, taken in below `path`. No sources = none."""

    path: str = "/hooks"
    sources: tuple[Source, ...] = ()


@dataclass(frozen=True, slots=True)
class Settings:
    """One gateway process's settings. `sources` maps a dotted key to where its value came from."""

    name: str = "gateway"
    listen: Listen = field(default_factory=lambda: Listen("127.0.0.1", 8080))
    admin: Listen | None = field(default_factory=lambda: Listen("127.0.0.1", 9090))
    admin_token: str | None = field(default=None, repr=False)  # a must when `admin` is not a loopback address
    admin_read_token: str | None = field(default=None, repr=False)  # for who may look at everything and change nothing
    workers: int = 1  # `auto` is resolved when the file is read
    watchdog_us: int | None = 30_000_000  # a worker whose event loop stands still so long is killed; None = never
    policies: Path = Path("policies")
    trusted_proxies: tuple[str, ...] = ()
    store: StoreSettings = field(default_factory=StoreSettings)
    headers: HeaderSettings = field(default_factory=HeaderSettings)
    bounds: Bounds = field(default_factory=Bounds)
    drain: Drain = field(default_factory=Drain)
    logging: Logging = field(default_factory=Logging)
    traces: Traces = field(default_factory=Traces)
    webhooks: Webhooks = field(default_factory=Webhooks)
    alerts: Thresholds = field(default_factory=Thresholds)
    intake: IntakeSettings = field(default_factory=IntakeSettings)
    sources: tuple[tuple[str, str], ...] = ()


def leaves(settings: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every single setting by its dotted name, where it comes from left out. The file's key is the name without `_us`.
    A listener is one setting."""
    for one in fields(settings):
        name, value = path + one.name, getattr(settings, one.name)
        if is_dataclass(value) and not isinstance(value, Listen):
            yield from leaves(value, name + ".")
        elif name != "sources":
            yield name, value
