"""Gateways that try again, on a clock of the test, and upstreams that fail at first."""

import asyncio
from collections.abc import Callable

import pytest

from gateway.core.retry import Retry, Stop
from gateway.record import CallRecord
from tests.app.conftest import Running, Start
from tests.fakes.upstream import OK, Received, Script, Socket, Upstream
from tests.fakes.waiting import turns

POLICIES = """
version: 1
keys:
  tenant: {from: header, name: X-Tenant-Id, on_missing: anonymous}
limits:
  tenant-10m: {algorithm: rolling_window, limit: 500, window: 10m, key: [tenant]}
  source-1m: {algorithm: rolling_window, limit: %(source)s, window: 1m, key: [], charge: per_attempt}
retries:
  standard: {attempts: 5, backoff: {schedule: [1s, 2s, 4s, 8s]}%(retry)s}
upstreams:
  up: {url: "%(url)s"}
routes:
  - {name: all, match: {path_prefix: /}, upstream: up, limits: [tenant-10m, source-1m], retry: standard}
"""
GET = b"GET /x HTTP/1.1\r\nHost: gw\r\n\r\n"
DOWN = b"HTTP/1.1 503 Down\r\nX-From: upstream\r\nContent-Length: 4\r\n\r\ndown"


class Clock:
    """The gateway's clock and sleep. What is slept through is over at once."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.sleeping: Callable[[], None] = lambda: None

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.sleeping()
        self.now += seconds
        await turns()


class Watched:
    """A gateway with a retry policy, its clock, and what it told."""

    def __init__(self, running: Running) -> None:
        self.running = running
        self.clock = Clock()
        self.stops: list[tuple[CallRecord, Stop]] = []
        self.retries: list[tuple[str, str]] = []
        gateway = running.gateway
        gateway.clock, gateway.sleep = self.clock, self.clock.sleep
        gateway.on_retry = lambda _upstream, reason, outcome: self.retries.append((reason, outcome))
        gateway.on_stop = self._stopped

    def _stopped(self, record: CallRecord, _retry: Retry, stop: Stop) -> None:
        self.stops.append((record, stop))

    @property
    def reasons(self) -> list[Stop]:
        return [stop for _, stop in self.stops]

    async def call(self, request: bytes = GET) -> tuple[bytes, CallRecord]:
        """The whole answer, and the record of the call."""
        done = len(self.running.records.all)
        answer = await self.running.raw(request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
        return answer, (await self.running.records.wait(done + 1))[done]


Begin = Callable[..., "asyncio.Future[Watched]"]


def after(failures: int, last: bytes = OK, failure: bytes = DOWN) -> Script:
    """Fails so often, then succeeds."""
    left = [failures]

    async def script(_request: Received, _socket: Socket) -> bytes:
        left[0] -= 1
        return failure if left[0] >= 0 else last

    return script


def timed(clock: Clock, at: list[float], response: bytes = DOWN) -> Script:
    """Notes when requests come."""

    async def script(_request: Received, _socket: Socket) -> bytes:
        at.append(clock.now - 1000.0)
        return response

    return script


@pytest.fixture
def begin(start: Start, upstream: Upstream) -> Callable[..., object]:
    """`await begin(", total: 10s")`: a gateway whose retry policy says this too."""

    async def of(
        retry: str = "", *, url: str = "", source: int = 1000, backoff: str = "{schedule: [1s, 2s, 4s, 8s]}"
    ) -> Watched:
        text = POLICIES.replace("{schedule: [1s, 2s, 4s, 8s]}", backoff)
        return Watched(await start(text % {"retry": retry, "url": url or upstream.url, "source": source}))

    return of
