"""A gateway in the test's own process: real sockets, a real server for the counters, policies from YAML text."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import uvloop

from gateway import policy
from gateway.build import build_gateway, build_listener
from gateway.call import Gateway
from gateway.listener import listener
from gateway.listener.listener import Listener
from gateway.record import CallRecord
from gateway.settings import Settings
from gateway.store.shared.answers import SharedAnswers
from tests.fakes.stores import patient, started
from tests.fakes.upstream import Upstream

ONE_ROUTE = """
version: 1
keys:
  tenant: {from: header, name: X-Tenant-Id, on_missing: anonymous}
  connection: {from: header, name: X-Connection-Id, on_missing: skip}
limits:
  tenant-10m: {algorithm: rolling_window, limit: 500, window: 10m, key: [tenant]}
upstreams:
  up: {url: "%(url)s"}
routes:
  - {name: all, match: {path_prefix: /}, upstream: up, limits: [tenant-10m]}
"""


class Records:
    """Collects the records of finished calls; tests wait for them instead of sleeping."""

    def __init__(self) -> None:
        self.all: list[CallRecord] = []
        self._more = asyncio.Event()

    def emit(self, record: CallRecord) -> None:
        self.all.append(record)
        self._more.set()

    async def wait(self, count: int) -> list[CallRecord]:
        """Until at least `count` calls are recorded."""
        while len(self.all) < count:
            self._more.clear()
            await self._more.wait()
        return self.all


@dataclass
class Running:
    """A started gateway. `raw` talks bytes to it."""

    gateway: Gateway
    listener: Listener
    records: Records
    port: int
    crashes: list[BaseException] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def time_is_over(self) -> None:
        """For all upstreams that are asked just now, however long they may take."""
        for pool in self.gateway.upstreams.pools().values():
            for exchange in pool._busy:
                exchange.deadline = 0.0

    async def raw(self, data: bytes, *, until: bytes | None = None) -> bytes:
        """Send bytes; everything that comes back until `until` is seen or the gateway closes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(data)
            got = b""
            while until is None or until not in got:
                more = await reader.read(65536)
                if not more:
                    break
                got += more
            return got
        finally:
            writer.close()


Start = Callable[..., Awaitable[Running]]


BOTH_LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
UVLOOP = {"uvloop": uvloop.new_event_loop}
NOT_ABOUT_SOCKETS = {
    "test_answers_and_records.py",
    "test_authentication.py",
    "test_breaker_reports.py",
    "test_cache_fleet.py",
    "test_cache_suite.py",
    "test_calendar_quota.py",
    "test_census.py",
    "test_costs.py",
    "test_credentials.py",
    "test_learned_pauses.py",
    "test_problem_codes.py",
    "test_rate_limit_answers.py",
    "test_reload_again.py",
    "test_sandbox.py",
    "test_tokens.py",
    "test_what_upstreams_have_left.py",
    # and of tests/proxy
    "test_addresses.py",
    "test_identity.py",
    "test_key_spellings.py",
    "test_log_injection.py",
    "test_remembered_heads.py",
    "test_route_confusion.py",
}
"""Files whose tests ask what is decided and said: the same whichever loop carries it."""


def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Tests of how calls travel run on both loops: the gateway runs on uvloop, whose transports behave differently."""
    return UVLOOP if item.path.name in NOT_ABOUT_SOCKETS else BOTH_LOOPS


@pytest.fixture
async def start(redis_url: str, redis_client: Any, tmp_path: Path) -> AsyncIterator[Start]:
    """Start gateways: `await start(policies_yaml, **settings)`. A crash inside any of them fails the test."""
    running: list[Running] = []
    stores = AsyncExitStack()

    async def begin(policies: str, **changes: Any) -> Running:
        file = tmp_path / f"policies{len(running)}.yaml"
        file.write_text(policies)
        settings = replace(Settings(name="gw-test"), **changes)
        store = await stores.enter_async_context(started(patient(redis_url)))
        records = Records()
        answers = SharedAnswers(patient(redis_url))
        gateway = build_gateway(settings, policy.load([file]), store, records, 0, answers)
        await gateway.upstreams.load(gateway.policies)
        await gateway.authenticator.load(gateway.policies)
        gateway.supply.load(gateway.policies)
        door = build_listener(gateway)
        sock = socket.create_server(("127.0.0.1", 0))
        one = Running(gateway, door, records, sock.getsockname()[1])
        gateway.on_crash = lambda crash, _record: one.crashes.append(crash)
        await door.start(sock)
        running.append(one)
        return one

    yield begin
    for one in running:
        one.listener.stop_accepting()
        await one.listener.wait_closed(1.0)
        await one.gateway.caches.close()
        await one.gateway.upstreams.close()
        await one.gateway.authenticator.close()
        await one.gateway.supply.close()
        await one.gateway.store.close()
        one.gateway.leases.close()
    await stores.aclose()
    assert [crash for one in running for crash in one.crashes] == []


@pytest.fixture
def swept_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gateways that start from now on look after their callers' time all the time, not twice a second."""
    monkeypatch.setattr(listener, "SWEEP_S", 0.02)


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    """A scripted upstream that answers `ok` until told otherwise."""
    async with Upstream() as server:
        yield server


@pytest.fixture
async def gateway(start: Start, upstream: Upstream) -> Running:
    """A gateway with one route to `upstream`."""
    return await start(ONE_ROUTE % {"url": upstream.url})
