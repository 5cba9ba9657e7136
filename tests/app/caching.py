"""A gateway with a cache in front of a scripted upstream, and a clock that the test moves."""

import re
from dataclasses import dataclass

from tests.app.conftest import Running, Start
from tests.core.cache.cache_cases import NOW_US
from tests.fakes.upstream import Upstream, always

POLICIES = """
version: 1
keys:
  tenant: {from: header, name: X-Tenant-Id, on_missing: skip}
limits:
  calls: {algorithm: rolling_window, limit: %(limit)d, window: 1h, key: [tenant], on_store_error: %(posture)s}
upstreams:
  up: {url: "%(url)s"}
retries:
  twice: {attempts: 2, backoff: {schedule: [1ms]}, on_status: [503]}
breakers:
  guard: {key: [tenant], scope: local, consecutive_failures: 1, minimum_calls: 1, open_for: 1h}
routes:
  - name: all
    match: {path_prefix: /}
    upstream: up
    limits: [calls]
    %(rest)s
    modules:
      cache:
        ttl: %(ttl)s
        match: {path: [/things, "/users/{id}"]}
        vary_by: %(vary_by)s
        store: %(store)s
        %(more)s
  - {name: write, match: {path_prefix: /write/}, strip_prefix: /write, upstream: up}
"""


def answer(body: bytes, *lines: str, status: bytes = b"200 OK") -> bytes:
    """A whole answer with these field lines."""
    text = "".join(f"{line}\r\n" for line in lines).encode("latin-1")
    return b"HTTP/1.1 %b\r\nContent-Length: %d\r\n%b\r\n%b" % (status, len(body), text, body)


@dataclass
class Got:
    """An answer as it arrived."""

    head: bytes
    body: bytes

    @property
    def status(self) -> int:
        return int(self.head[9:12])

    def fields(self, name: str) -> list[str]:
        """Values of a field, in order."""
        pattern = re.compile(rb"(?im)^" + re.escape(name.encode()) + rb":[ \t]*(.*?)[ \t]*\r?$")
        return [value.decode("latin-1") for value in pattern.findall(self.head)]


@dataclass
class Cached:
    """The gateway, its upstream, and calls. Every call has a socket of its own."""

    running: Running
    upstream: Upstream
    passed_s: float = 0.0

    def __post_init__(self) -> None:
        gateway = self.running.gateway
        mono = gateway.clock
        gateway.wall_clock = lambda: NOW_US / 1e6 + self.passed_s
        gateway.clock = lambda: mono() + self.passed_s

    def later(self, seconds: float) -> None:
        """Time passes."""
        self.passed_s += seconds

    def answers(self, response: bytes) -> None:
        """What the upstream says from now on."""
        self.upstream.script = always(response)

    async def get(
        self, path: str, *fields: tuple[str, str], method: str = "GET", tenant: str | None = "acme", body: bytes = b""
    ) -> Got:
        """One call."""
        lines = [f"{method} {path} HTTP/1.1", "Host: gateway.test", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in fields]
        if tenant is not None and not any(name == "X-Tenant-Id" for name, _ in fields):
            lines.append(f"X-Tenant-Id: {tenant}")
        if body:
            lines.append(f"Content-Length: {len(body)}")
        raw = await self.running.raw("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        if method not in ("GET", "HEAD"):
            self.later(2e-6)  # what is asked for next is asked for later
        head, _, rest = raw.partition(b"\r\n\r\n")
        return Got(head, rest)


async def begin(
    start: Start,
    upstream: Upstream,
    *,
    vary_by: str = "[tenant]",
    ttl: str = "5m",
    more: str = "",
    rest: str = "",
    limit: int = 500,
    store: str = "local",
    posture: str = "local",
) -> Cached:
    """A gateway with POLICIES. more: of the cache, rest: of the route, as lines of YAML; posture: of the limit."""
    indented = more.replace("\n", "\n        ")
    policies = POLICIES % {
        "url": upstream.url, "vary_by": vary_by, "ttl": ttl, "more": indented, "rest": rest, "limit": limit,
        "store": store, "posture": posture,
    }  # fmt: skip
    return Cached(await start(policies), upstream)
