"""Calls whose upstream asks to be left alone, while the test turns the clock."""

import re
from dataclasses import dataclass, field

from gateway.core.retry import Stop
from gateway.record import CallRecord
from gateway.store.local.store import LocalStore
from tests.app.conftest import Running
from tests.fakes.upstream import OK, Received, Script, Socket, Upstream
from tests.fakes.waiting import turns


@dataclass
class Slow:
    """A gateway whose store and sleep are on the test's clock, in microseconds."""

    running: Running
    upstream: Upstream
    now_us: int = 1_000_000_000
    began: list[tuple[str, int]] = field(default_factory=list)
    stops: list[Stop] = field(default_factory=list)

    def __post_init__(self) -> None:
        gateway = self.running.gateway
        store = LocalStore(lambda: self.now_us)
        gateway.store = store
        gateway.breakers.own._clock = lambda: self.now_us
        gateway.clock, gateway.sleep = lambda: self.now_us / 1e6, self.sleep
        gateway.random_bits = lambda _bits: 0
        gateway.pauses.on_pause = lambda guard, for_us: self.began.append((guard.rule.name, for_us // 1_000_000))
        gateway.on_stop = lambda _record, _retry, stop: self.stops.append(stop)

    async def sleep(self, seconds: float) -> None:
        await turns()
        self.now_us += round(seconds * 1e6)

    async def call(self, route: str = "plain", connection: str = "c1") -> tuple[int, bytes, CallRecord]:
        """(status, answer, record) of one call."""
        done = len(self.running.records.all)
        named = f"X-Connection-Id: {connection}\r\n" if connection else ""
        answer = await self.running.raw(
            f"GET /{route}/x HTTP/1.1\r\nHost: gw\r\n{named}Connection: close\r\n\r\n".encode()
        )
        return int(answer.split(b" ", 2)[1]), answer, (await self.running.records.wait(done + 1))[done]


def retry_after(answer: bytes) -> int:
    found = re.search(rb"\r\nRetry-After: (\d+)\r\n", answer)
    assert found is not None
    return int(found[1])


def after_one(first: bytes) -> Script:
    answers = [OK, first]

    async def script(_request: Received, _socket: Socket) -> bytes:
        return answers.pop()

    return script
