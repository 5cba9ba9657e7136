"""The store that comes with a gateway: there, gone, replaced, and ended with it."""

import os
import re
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from gateway.supervisor.embedding import LOOK_EVERY_S, OwnServer
from tests.cli.conftest import Process, Start, alive, server_pid
from tests.cli.starting.running import AT_ONCE, TENANT, shim
from tests.fakes.waiting import pause, until


def remaining(process: Process) -> int:
    return int(process.get("/hello", TENANT).headers["X-RateLimit-Remaining"])


def test_without_a_wheel_one_worker_counts_by_itself(start_gateway: Start, tmp_path: Path) -> None:
    shim(tmp_path)
    process = start_gateway("--workers", "3", fresh=True, env={"PYTHONPATH": str(tmp_path), **AT_ONCE})
    assert re.search(r"store +no embedded store, .*counters live inside this process", process.stderr())
    assert re.search(r"workers +1\n", process.stderr())
    assert process.wait_for("store.limited")[0]["level"] == "warning"
    assert [remaining(process) for _ in range(3)] == [499, 498, 497]
    assert process.wait_for("http.access")[0]["store"] == "local"


def test_the_embedded_store_ends_with_a_killed_gateway(start_gateway: Start) -> None:
    for workers in ("1", "2"):
        process = start_gateway("--workers", workers)
        store = server_pid(process)
        process.popen.send_signal(signal.SIGKILL)
        process.wait()
        until(lambda store=store: not alive(store), "the store to end")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_an_embedded_store_that_dies_comes_back(start_gateway: Start, workers: str) -> None:
    process = start_gateway("--workers", workers)
    first = server_pid(process)
    os.kill(first, signal.SIGKILL)
    until(lambda: {store_of_last_call(process) for _ in range(8)} == {"embedded"}, "counting in a new store")
    assert remaining(process) < 500
    assert not alive(first)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_one_that_hangs_is_started_anew(start_gateway: Start, workers: str) -> None:
    process = start_gateway("--workers", workers, env={"GATEWAY_WATCHDOG": "2s", **AT_ONCE})
    first = server_pid(process)
    os.kill(first, signal.SIGSTOP)
    assert process.wait_for("store.hung")[0]["silent_s"] >= 2
    until(lambda: {store_of_last_call(process) for _ in range(8)} == {"embedded"}, "counting in a new store")
    assert not alive(first)
    process.popen.send_signal(signal.SIGTERM)
    process.ends_well()
    assert len(process.events("store.hung")) == 1


class Slow:
    """An embedded server that takes a second and a half to start, on a clock of its own, and does not answer."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s, self.alive, self.starts = 100.0, True, 0
        monkeypatch.setattr("gateway.supervisor.embedding.time.monotonic", lambda: self.now_s)

    def start(self) -> None:
        self.now_s += 1.5
        self.alive, self.starts = True, self.starts + 1

    def silent(self, within_s: float) -> bool:
        self.now_s += within_s
        return True

    def kill(self) -> None:
        self.alive = False


def test_the_time_in_which_it_starts_is_no_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy host it would be ended again, before it has had its time to answer."""
    server: Any = Slow(monkeypatch)
    own = OwnServer(server, 2_000_000)
    hung_at_s = []
    while len(hung_at_s) < 2:
        before = server.starts
        own.mend()
        if server.starts > before:
            hung_at_s.append(server.now_s)
        server.now_s += LOOK_EVERY_S
    assert hung_at_s[1] - hung_at_s[0] >= 2 + 1.5


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_one_that_cannot_be_started_again_at_once_comes_back_later(
    start_gateway: Start, runtime: Path, workers: str
) -> None:
    """As where the host is short of processes or files for a while."""
    process = start_gateway("--workers", workers, env=AT_ONCE)
    process.wait_for("gateway.ready", int(workers))
    [directory] = runtime.glob("gateway-*")
    shutil.rmtree(directory)
    directory.touch()
    first = server_pid(process)
    os.kill(first, signal.SIGKILL)
    process.wait_for("store.degraded", int(workers))
    await pause(2 * LOOK_EVERY_S, "somebody looks after the store once a second")
    directory.unlink()
    until(lambda: {store_of_last_call(process) for _ in range(8)} == {"embedded"}, "counting in a new store")
    process.popen.send_signal(signal.SIGTERM)
    process.ends_well()


def store_of_last_call(process: Process) -> str:
    before = len(process.events("http.access"))
    process.get("/hello", TENANT)
    return str(process.wait_for("http.access", before + 1)[-1]["store"])


def test_workers_share_the_counters(start_gateway: Start) -> None:
    process = start_gateway("--workers", "3", env=AT_ONCE)
    process.wait_for("worker.started", 3)
    assert sorted(remaining(process) for _ in range(60)) == list(range(440, 500))
    assert len({event["worker"] for event in process.wait_for("http.access", 60)}) > 1
    process.popen.send_signal(signal.SIGTERM)
    process.ends_well()
