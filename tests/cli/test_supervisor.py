"""The parent of N workers, with workers that do next to nothing (`fleet.py`)."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.supervisor.notify import watchdog_s
from gateway.supervisor.seat import LONGEST_BACKOFF_S, backoff_s
from tests.cli.conftest import Process, Start, alive
from tests.fakes.nursery import Nursery
from tests.fakes.waiting import until

FLEET = str(Path(__file__).with_name("fleet.py"))


@pytest.fixture
def fleet(start: Start, nursery: Nursery) -> Start:
    def begin(*arguments: str, **where: object) -> Process:
        process = start(FLEET, *arguments, nursery=nursery, **where)
        told = until(lambda: re.search(r"port (\d+)", process.stderr()) or process.ended(), "the fleet to be ready")
        if isinstance(told, re.Match):
            process.port = int(told[1])
        return process

    return begin


def ask(process: Process) -> tuple[int, int]:
    """(index, pid) of the worker that answers a new connection."""
    with socket.create_connection(("127.0.0.1", process.port), timeout=30) as sock:
        index, pid = sock.makefile().readline().split()
        return int(index), int(pid)


def worker_pids(process: Process, count: int) -> dict[int, int]:
    """Pid by index of the newest `count` workers."""
    return {event["worker"]: event["pid"] for event in process.wait_for("worker.started", count)[-count:]}


def all_serve(process: Process, pids: dict[int, int]) -> None:
    """Wait until each of the workers has answered."""
    silent = set(pids.values())
    until(lambda: not silent.difference_update([ask(process)[1]]) and not silent, "an answer from each worker")


def answering_meanwhile(process: Process) -> set[int]:
    """Who answers thirty connections, all of them between two tries to start worker 1: during one they may be its own,
    and end with it."""

    def tries() -> int:
        return len(process.events("worker.started") + process.events("worker.failed"))

    def answering() -> set[int]:
        before = tries()
        found = {ask(process)[0] for _ in range(30)}
        return found if tries() == before else set()

    return until(answering, "thirty answers between two tries")


def test_back_off_doubles_up_to_half_a_minute() -> None:
    assert backoff_s(0, 0.99) == 0
    assert [backoff_s(deaths, 0.0) for deaths in (1, 2, 3, 4)] == pytest.approx([0.05, 0.1, 0.2, 0.4])
    assert backoff_s(1, 0.999) < 0.1
    assert backoff_s(10_000, 0.0) == LONGEST_BACKOFF_S / 2


def test_every_worker_serves_and_all_end_with_exit_code_0(fleet: Start, runtime: Path) -> None:
    process = fleet("3")
    pids = worker_pids(process, 3)
    all_serve(process, pids)
    assert [path.stat().st_mode & 0o777 for path in runtime.glob("gateway-*")] == [0o700]
    process.popen.send_signal(signal.SIGTERM)
    process.ends_well()
    assert not any(alive(pid) for pid in pids.values())
    assert not list(runtime.iterdir())


def test_a_killed_worker_is_replaced_and_no_connection_is_lost(fleet: Start) -> None:
    process = fleet("2")
    pids = worker_pids(process, 2)
    os.kill(pids[1], signal.SIGKILL)
    successor = until(lambda: next((pid for i, pid in [ask(process)] if i == 1 and pid != pids[1]), 0), "the successor")
    assert alive(successor)
    assert process.events("worker.exited")[0]["exit_code"] == -signal.SIGKILL


def test_a_worker_that_crashes_at_once_is_not_restarted_in_a_frenzy(fleet: Start, tmp_path: Path) -> None:
    well = tmp_path / "well"
    process = fleet("2", "crash-at-once", env={"FLEET_WELL": str(well)})
    exits = process.wait_for("worker.exited", 5)
    for deaths, event in enumerate(exits[:5], start=1):
        assert 0.05 * 2 ** (deaths - 1) <= event["restart_in_s"] <= 0.1 * 2 ** (deaths - 1)
    assert answering_meanwhile(process) == {0}, "its share of the connections goes to the others meanwhile"
    well.touch()
    until(lambda: ask(process)[0] == 1, "worker 1 to serve again")


def test_where_no_process_can_be_had_the_others_go_on(fleet: Start, tmp_path: Path) -> None:
    well = tmp_path / "well"
    process = fleet("2", "no-more-forks", env={"FLEET_WELL": str(well)})
    pids = worker_pids(process, 2)
    all_serve(process, pids)
    os.kill(pids[1], signal.SIGKILL)
    for tries, event in enumerate(process.wait_for("worker.failed", 4), start=2):
        assert "Resource temporarily unavailable" in event["reason"]
        assert 0.05 * 2 ** (tries - 1) <= event["restart_in_s"] <= 0.1 * 2 ** (tries - 1)
    assert answering_meanwhile(process) == {0}, "its share of the connections goes to the others meanwhile"
    well.touch()
    until(lambda: ask(process)[0] == 1, "worker 1 to serve again")
    process.popen.send_signal(signal.SIGTERM)
    process.ends_well()


def test_workers_end_when_their_parent_is_killed(fleet: Start) -> None:
    process = fleet("2")
    pids = worker_pids(process, 2).values()
    process.popen.send_signal(signal.SIGKILL)
    process.wait()
    until(lambda: not any(alive(pid) for pid in pids), "the workers to end")


def test_workers_that_do_not_listen_are_cut_after_the_grace(fleet: Start) -> None:
    process = fleet("2", "deaf")
    pids = worker_pids(process, 2)
    all_serve(process, pids)
    process.popen.send_signal(signal.SIGTERM)
    assert process.wait() == 1
    assert len(process.events("worker.cut")) == 2
    assert not any(alive(pid) for pid in pids.values())


def test_a_worker_that_cannot_start_is_reported_once(fleet: Start, runtime: Path) -> None:
    process = fleet("3", "never-start")
    assert process.wait() == 4
    assert process.stderr() == "gateway: the sky is closed\n"
    assert not list(runtime.iterdir())


@pytest.mark.parametrize(
    ("workers", "misbehaviour", "told"),
    [
        ("2", "killed-at-once", "signal 9 (Killed) ended the first worker before it served; has the host or container"),
        ("2", "no-process", "cannot start a worker process: Resource temporarily unavailable"),
        ("1", "no-threads", "the host has no 8 threads for a worker: raise the limit of processes (`ulimit -u`, "),
        ("2", "no-threads", "the host has no 8 threads for a worker: raise the limit of processes (`ulimit -u`, "),
    ],
)
def test_what_keeps_the_first_worker_from_serving_is_told(
    fleet: Start, workers: str, misbehaviour: str, told: str
) -> None:
    process = fleet(workers, misbehaviour)
    assert process.wait() != 0
    (line,) = process.stderr().splitlines()
    assert line.startswith(f"gateway: {told}")


def test_interrupt_from_the_terminal_reaches_each_worker_once(fleet: Start) -> None:
    process = fleet("2")
    pids = worker_pids(process, 2)
    all_serve(process, pids)
    groups = {os.getpgid(pid) for pid in pids.values()}
    assert os.getpgid(process.pid) not in groups, "Ctrl-C goes to the parent's group alone, which passes it on"
    process.popen.send_signal(signal.SIGINT)
    process.ends_well()


def test_systemd_is_told_when_calls_are_served_and_when_no_longer(fleet: Start, notify: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(notify))
        manager.settimeout(30)
        process = fleet("2", env={"NOTIFY_SOCKET": str(notify)})
        assert manager.recv(100) == b"READY=1"
        process.popen.send_signal(signal.SIGTERM)
        assert manager.recv(100) == b"STOPPING=1"
    process.ends_well()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_systemd_hears_that_it_lives_when_it_asks(workers: str, fleet: Start, notify: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(notify))
        manager.settimeout(30)
        fleet(workers, env={"NOTIFY_SOCKET": str(notify), "WATCHDOG_USEC": "100000"})
        said = [manager.recv(100) for _ in range(4)]
    assert said.count(b"WATCHDOG=1") >= 3


@pytest.mark.parametrize("asked", ["", "0", "often", "\u00b2", "-5"])
def test_a_watchdog_that_names_no_time_does_not_ask(monkeypatch: pytest.MonkeyPatch, asked: str) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", asked)
    assert watchdog_s() is None


TURNS = """
import sys
from gateway.supervisor.pulse import Pulse
from gateway.supervisor.worker import run_worker

async def serve(post):
    print(sys.getswitchinterval())
    return 0

class Post:
    beside = line = None
    pulse = Pulse()

sys.exit(run_worker(Post(), serve))
"""


def test_the_event_loop_of_a_worker_seldom_waits_for_a_thread_that_computes() -> None:
    done = subprocess.run([sys.executable, "-c", TURNS], capture_output=True, text=True, timeout=50)
    assert float(done.stdout) < sys.getswitchinterval() / 10
