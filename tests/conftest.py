"""Fixtures shared by every test: real Redis-protocol servers.

Which server: see `tests/fakes/redis_server.py`. The header of the test run says it.
"""

import contextlib
import gc
import itertools
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import redis.asyncio
from hypothesis import HealthCheck, settings

from gateway.store.connection import transports
from tests.fakes import nursery as nurseries
from tests.fakes.examples import BRIEF
from tests.fakes.nursery import Nursery
from tests.fakes.oauth_server import Authority, running_authority
from tests.fakes.receiver import Receiver, receiving
from tests.fakes.redis_cluster import RedisCluster
from tests.fakes.redis_sentinel import SentinelGroup
from tests.fakes.redis_server import RedisServer, server_binary, server_version

pytest_plugins = ["tests.too_late", "tests.left_open"]

# How long one example takes says how busy the host is.
settings.register_profile("unhurried", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("brief", settings.get_profile("unhurried"), max_examples=BRIEF)
settings.load_profile("unhurried")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Say which server is under test. (`pytest_report_header` would be silent under `-q`.)"""
    binary = server_binary()
    try:
        line = f"store under test: {server_version(binary)} ({binary})"
    except (OSError, subprocess.CalledProcessError) as error:
        raise pytest.UsageError(f"cannot run the test server {binary!r}: {error}") from error
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None:
        reporter.write_line(line)


def pytest_collection_finish() -> None:
    """The tests themselves stay until the end, and are most of what there is: no collection needs to look at them."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def patient_dialling(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine a handshake with a store may take more than a second."""
    monkeypatch.setattr(transports, "DIAL_TIMEOUT_S", 20.0)


StartServer = Callable[..., RedisServer]
StartCluster = Callable[..., RedisCluster]
StartSentinel = Callable[..., SentinelGroup]


@pytest.fixture(scope="session", name="server_binary")
def _server_binary() -> str:
    """Path of the server under test, for tests that start it in their own way."""
    return server_binary()


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """Where gateways are born that start at once."""
    with nurseries.opened() as one:
        yield one


@pytest.fixture(scope="session")
def _server_directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="gw-", dir="/tmp") as directory:
        yield Path(directory)


@pytest.fixture(scope="session")
def redis_server(_server_directory: Path) -> Iterator[RedisServer]:
    """The server shared by the whole run. Do not stop, freeze or reconfigure it: use `own_redis_server` for that."""
    with contextlib.ExitStack() as stack:
        server = RedisServer(_server_directory)
        stack.callback(server.kill)
        server.start()
        yield server


@pytest.fixture
def start_redis_server(_server_directory: Path) -> Iterator[StartServer]:
    """Function that starts one more server, `start_redis_server("--requirepass", "x")`; all end with the test."""
    numbers = itertools.count()
    with contextlib.ExitStack() as stack:

        def start(*arguments: str) -> RedisServer:
            directory = Path(tempfile.mkdtemp(prefix=f"{next(numbers)}-", dir=_server_directory))
            server = RedisServer(directory, *arguments)
            stack.callback(shutil.rmtree, directory)
            stack.callback(server.kill)
            server.start()
            return server

        yield start


@pytest.fixture
def own_redis_server(start_redis_server: StartServer) -> RedisServer:
    """A server for this test alone: it may be killed, frozen, restarted and reconfigured."""
    return start_redis_server()


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """`unix://` URL of the shared server. Flushed only for tests that also ask for `redis_client`."""
    return redis_server.url


@pytest.fixture(scope="session")
def _emptying(redis_server: RedisServer) -> Iterator[Callable[[], object]]:
    """Over a connection that is there already: nearly every test asks for it."""
    with redis_server.client() as client:
        yield client.flushall


@pytest.fixture
async def redis_client(redis_url: str, _emptying: Callable[[], object]) -> AsyncIterator["redis.asyncio.Redis"]:
    """An ordinary client of the shared server, emptied before the test. Replies are bytes."""
    _emptying()
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Somebody who gets webhooks."""
    async with receiving() as one:
        yield one


@pytest.fixture(scope="session")
def _authority() -> Iterator[Authority]:
    with running_authority() as one:
        yield one


@pytest.fixture
def authority(_authority: Authority) -> Authority:
    """A server of tokens and the API behind it, as if it had just been started."""
    _authority.reset()
    return _authority


@pytest.fixture(scope="session")
def redis_cluster(_server_directory: Path) -> Iterator[RedisCluster]:
    """The cluster of three primaries shared by the whole run. Do not stop, freeze or reshard it: `start_cluster`."""
    with contextlib.ExitStack() as stack:
        cluster = RedisCluster(_server_directory / "cluster", 3)
        stack.callback(cluster.close)
        cluster.start()
        yield cluster


@pytest.fixture(scope="session")
def sentinel_group(_server_directory: Path) -> Iterator[SentinelGroup]:
    """A primary and the Sentinel that names it, shared by the whole run. Nothing here may fail over: `start_sentinel`."""
    with contextlib.ExitStack() as stack:
        group = SentinelGroup(_server_directory / "sentinel", replicas=0, sentinels=1)
        stack.callback(group.close)
        group.start()
        yield group


@pytest.fixture(scope="session")
def _replicated_cluster(_server_directory: Path) -> Iterator[RedisCluster]:
    with contextlib.ExitStack() as stack:
        cluster = RedisCluster(_server_directory / "replicated", 3, replicas=1)
        stack.callback(cluster.close)
        cluster.start()
        yield cluster


@pytest.fixture
def broken_cluster(_replicated_cluster: RedisCluster) -> RedisCluster:
    """A cluster of three primaries, each with a replica, shared by tests that break it. Works when they begin."""
    _replicated_cluster.mend()
    for node in _replicated_cluster.primaries:
        with node.client(socket_timeout=None) as client:
            client.flushall()
            assert client.wait(
                1, 30_000
            )  # until the replica has done so, too: it may soon be asked in the place of this one
    return _replicated_cluster


@pytest.fixture
def start_cluster(_server_directory: Path) -> Iterator[StartCluster]:
    """Function that starts a cluster, `start_cluster(3, replicas=1)` (see `RedisCluster`); it ends with the test."""
    with contextlib.ExitStack() as stack:

        def start(primaries: int = 3, **options: object) -> RedisCluster:
            directory = Path(tempfile.mkdtemp(prefix="c-", dir=_server_directory))
            cluster = RedisCluster(directory, primaries, **options)  # type: ignore[arg-type]
            stack.callback(shutil.rmtree, directory)
            stack.callback(cluster.close)
            cluster.start()
            return cluster

        yield start


@pytest.fixture
def start_sentinel(_server_directory: Path) -> Iterator[StartSentinel]:
    """Function that starts a primary, its replicas and Sentinels, `start_sentinel(replicas=1, sentinels=3)` (see
    `SentinelGroup`); they end with the test."""
    with contextlib.ExitStack() as stack:

        def start(**options: object) -> SentinelGroup:
            directory = Path(tempfile.mkdtemp(prefix="s-", dir=_server_directory))
            group = SentinelGroup(directory, **options)  # type: ignore[arg-type]
            stack.callback(shutil.rmtree, directory)
            stack.callback(group.close)
            group.start()
            return group

        yield start
