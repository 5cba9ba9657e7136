"""What the store's tests share: both event loops, a recorder of events, and stores that are closed again."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import uvloop

from gateway.core.limits import Algorithm, Charge, Limit
from gateway.store import StoreDown
from gateway.store.cluster.store import ClusterStore
from gateway.store.redis import RedisStore
from tests.fakes import ports
from tests.fakes.patience import PATIENT_US
from tests.fakes.redis_cluster import RedisCluster

ON_ONE_LOOP = {
    "test_cluster_faults.py",
    "test_outage_of_a_fleet.py",
    "test_outage_of_a_part.py",
    "test_sentinel.py",
    "test_tls.py",
}


@pytest.hookimpl(optionalhook=True)
def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, Callable[..., Any]]:
    """Every asynchronous test here runs on asyncio's own loop and on uvloop; those of whole fleets and clusters, which
    take long and are not about loops, on uvloop alone."""
    if item.path.name in ON_ONE_LOOP:
        return {"uvloop": uvloop.new_event_loop}
    return {"asyncio": asyncio.SelectorEventLoop, "uvloop": uvloop.new_event_loop}


class Events:
    """Takes a store's events; `wait_for` returns when one of that name has come so many times."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, object]]] = []
        self._came = asyncio.Event()

    def __call__(self, name: str, fields: dict[str, object]) -> None:
        self.seen.append((name, dict(fields)))
        self._came.set()

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.seen]

    async def wait_for(self, name: str, times: int = 1) -> dict[str, object]:
        while self.names.count(name) < times:
            self._came.clear()
            await self._came.wait()
        return [fields for seen, fields in self.seen if seen == name][-1]


@pytest.fixture
async def events() -> Events:
    return Events()


@pytest.fixture
async def open_store(events: Events) -> AsyncIterator[Callable[..., Any]]:
    """Function that opens the store of a URL: `await open_store(url, start=True, **options)`; all are closed with the
    test."""
    stores: list[RedisStore | ClusterStore] = []

    async def open_one(url: str, *, start: bool = True, **options: Any) -> RedisStore | ClusterStore:
        kind = ClusterStore if "+cluster" in url else RedisStore
        store = kind(url, **{"timeout_us": PATIENT_US, "on_event": events, **options})
        stores.append(store)
        if start:
            await store.start()
        return store

    yield open_one
    for store in stores:
        await store.close()


@pytest.fixture
def emptied_cluster(redis_cluster: RedisCluster) -> RedisCluster:
    """The shared cluster, emptied."""
    for node in redis_cluster.primaries:
        node.command("FLUSHALL")
    return redis_cluster


def window(quota: int = 500, name: str = "w") -> Limit:
    """An exact rolling window over an hour: nothing comes back while a test runs."""
    return Limit(name, Algorithm.ROLLING_WINDOW, quota=quota, window_us=3_600_000_000, key=("tenant",))


def slots(quota: int, name: str = "c") -> Limit:
    return Limit(name, Algorithm.CONCURRENCY, quota=quota, window_us=3_600_000_000, key=("tenant",))


def charge(limit: Limit, tenant: str = "acme") -> Charge:
    return Charge(limit, f"{limit.name}:{{={tenant}}}", 1)


@pytest.fixture
def make_charge() -> Callable[..., Charge]:
    """`make_charge(quota=500, tenant="acme")`: one unit of a rolling window."""
    return lambda quota=500, tenant="acme": charge(window(quota), tenant)


@pytest.fixture
def make_slot() -> Callable[..., Charge]:
    """`make_slot(quota=1, tenant="acme")`: one slot of a concurrency limit."""
    return lambda quota=1, tenant="acme": charge(slots(quota), tenant)


@pytest.fixture
def free_port() -> Callable[[], int]:
    """Function that finds a TCP port nobody listens on."""

    return ports.free_port


@pytest.fixture
def kind_of_failure() -> Callable[..., Any]:
    """`await kind_of_failure(awaitable)`: the kind of the StoreDown it must raise."""

    async def kind(awaitable: Any) -> str:
        with pytest.raises(StoreDown) as caught:
            await awaitable
        return caught.value.kind

    return kind


@pytest.fixture
async def serve_tcp():
    """Function that serves `handle(reader, writer)` on a free port and returns the port; all ends with the test."""
    servers, writers = [], []

    async def serve(handle, **options) -> int:
        async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writers.append(writer)
            await handle(reader, writer)

        servers.append(await asyncio.start_server(keep, "127.0.0.1", 0, **options))
        return servers[-1].sockets[0].getsockname()[1]

    yield serve
    for server in servers:
        server.close()
    for writer in writers:
        writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()
