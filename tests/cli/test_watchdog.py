"""Workers that hang: who sees it, what is said of it, and who is left alone."""

import itertools
import math
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.core.policy import PolicySet
from gateway.settings import Settings
from gateway.supervisor import watchdog
from gateway.supervisor.alone import EXIT_HUNG
from gateway.supervisor.pulse import LATE_S, Pulse, Watched, look_every_s, start_patience_us
from gateway.supervisor.seat import Seat
from gateway.supervisor.stack import has_debugger, state_of
from gateway.supervisor.watchdog import ANSWERS_WITHIN_S
from gateway.supervisor.worker import EXIT_NOT_STARTED, Post
from tests.cli.conftest import Process, Start, alive
from tests.cli.starting.running import AT_ONCE, TENANT
from tests.cli.test_supervisor import all_serve, ask, fleet, worker_pids
from tests.fakes.ports import free_port
from tests.fakes.waiting import hold_up, until

__all__ = ["fleet"]

QUICK = {"GATEWAY_WATCHDOG": "2s"}
HANGS = """
import signal, sys, threading

def hang(number, frame):
    threading.Event().wait()

signal.signal(signal.SIGWINCH, hang)
from gateway.cli import main
sys.argv[0] = "gateway"
main()
"""
"""The command `gateway`, which hangs when it is told that its window has changed. Workers inherit that."""


HANGS_WHILE_IT_STARTS = """
import sys, threading
from gateway import build
from gateway.supervisor import pulse

pulse.STARTS_IN, pulse.LEAST_START_US = 1, 0
build.build_gateway = lambda *_, **__: threading.Event().wait()
from gateway.cli import main
sys.argv[0] = "gateway"
main()
"""
"""The command `gateway`, whose workers never serve. Who starts may be silent as long as others may."""
TRACED = """
import ctypes, os, signal

ctypes.CDLL(None).ptrace(0, 0, None, None)
os.kill(os.getpid(), signal.SIGSTOP)
"""
"""It has itself traced by its parent (PTRACE_TRACEME), as a debugger does, and stops there."""


@contextmanager
def child_of_ours(program: str) -> Iterator[int]:
    """The pid of a Python that runs this program. It is killed in the end."""
    pid = os.posix_spawn(sys.executable, [sys.executable, "-S", "-c", program], os.environ)
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@pytest.fixture
def callers(fleet: Start) -> Iterator[list[socket.socket]]:
    """Open connections, in any number."""
    sockets: list[socket.socket] = []
    yield sockets
    for sock in sockets:
        sock.close()


def connect(process: Process, count: int) -> list[socket.socket]:
    return [socket.create_connection(("127.0.0.1", process.port), timeout=60) for _ in range(count)]


# -- how long somebody has been silent


def test_silence_is_what_was_watched_of_it() -> None:
    pulse = Pulse()
    watched = Watched(pulse, 100.0)
    assert [watched.look(now, 3.0) for now in (100.0, 103.0, 105.0, 108.5)] == [0, 3, 5, 8.5]
    pulse.beat()
    assert watched.look(111.0, 3.0) == 0
    assert watched.look(114.0, 3.0) == 3


def test_a_watcher_that_was_late_itself_has_seen_nothing() -> None:
    watched = Watched(Pulse(), 0.0)
    assert watched.look(3.0, 3.0) == 3
    assert watched.look(3.0 + 3.0 + LATE_S, 3.0) == 3 + 3 + LATE_S
    assert watched.look(70.0, 3.0) == 0, "it was stopped for a minute, and so may have been all others"
    assert watched.look(73.0, 3.0) == 3


def test_beats_are_told_apart_however_many_there_have_been() -> None:
    pulse = Pulse()
    seen = [pulse.beats]
    for _ in range(1_000):
        pulse.beat()
        seen.append(pulse.beats)
    assert all(a != b for a, b in itertools.pairwise(seen))


def test_looks_are_few_and_never_so_rare_that_the_patience_means_nothing() -> None:
    assert (look_every_s(2_000_000), look_every_s(30_000_000), look_every_s(3_600_000_000)) == (0.2, 3.0, 3.0)


def test_a_debugger_is_seen() -> None:
    with child_of_ours(TRACED) as pid:
        until(lambda: state_of(pid) == "traced")
        assert has_debugger(pid)
        assert not has_debugger(os.getpid())
    assert (state_of(pid), has_debugger(pid)) == (None, False)


# -- who is ended


@pytest.fixture
def child() -> Iterator[int]:
    """A process that does nothing."""
    with child_of_ours("import signal; signal.pause()") as pid:
        yield pid


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Who would have been killed."""
    pids: list[int] = []
    monkeypatch.setattr(watchdog, "_end", lambda _post, pid, _hung_s: pids.append(pid))
    return pids


@pytest.fixture
def seat(child: int, tmp_path: Path) -> Iterator[Seat]:
    """Where it sits, as a worker that serves and may be silent for ten seconds."""
    settings = replace(Settings(), watchdog_us=10_000_000)
    nothing = PolicySet("0" * 12, (), {}, {}, {})
    with socket.socket() as listening:
        yield Seat(Post(settings, nothing, 0, listening, None, "", directory=tmp_path), child, True, pulse=Pulse())


def test_who_is_silent_for_too_long_is_asked_where_and_then_ended(seat: Seat, ended: list[int]) -> None:
    dog = watchdog.Watchdog([seat])
    for now in range(10):
        assert dog.due in (math.inf, now)
        dog.look(now)
    assert ended == []
    dog.look(10.0)
    assert (ended, dog.due) == ([], 10.0 + ANSWERS_WITHIN_S)
    dog.look(10.1)
    assert ended == [], "it is not time yet"
    dog.look(dog.due)
    assert ended == [seat.pid]


def test_who_goes_on_just_in_time_is_left_alone(seat: Seat, ended: list[int]) -> None:
    dog = watchdog.Watchdog([seat])
    for now in range(11):
        dog.look(now)
    assert seat.pulse is not None
    seat.pulse.beat()
    for now in range(11, 21):
        dog.look(now)
    dog.look(21.0)
    assert (ended, dog.due) == ([], 21.0 + ANSWERS_WITHIN_S), "it has as long as before, and is asked anew"
    dog.look(dog.due)
    assert ended == [seat.pid]


def test_a_supervisor_that_was_stopped_ends_nobody(seat: Seat, ended: list[int]) -> None:
    dog = watchdog.Watchdog([seat])
    for now in (0, 1, 2, 62, 63, 64, 124, 125):
        dog.look(now)
    assert ended == []


def test_who_is_starting_may_be_silent_for_longer_and_who_drains_may_not(seat: Seat, ended: list[int]) -> None:
    dog = watchdog.Watchdog([seat])
    seat.make_room()
    seat.taken(os.getpid(), 0.0)
    seat.pulse = Pulse()
    for now in range(100):
        dog.look(now)
    assert set(ended) == {seat.formers[0].pid}
    for now in range(100, 103):
        dog.look(now)
    assert ended[-1] == os.getpid()


def test_silence_while_starting_is_none_of_who_serves(seat: Seat, ended: list[int]) -> None:
    dog = watchdog.Watchdog([seat])
    seat.ready = False
    for now in range(50):
        dog.look(now)
    seat.ready = True
    for now in range(50, 60):
        dog.look(now)
    assert ended == []


def test_a_start_takes_a_minute_at_least_whatever_others_may() -> None:
    assert [start_patience_us(us) // 1_000_000 for us in (2_000_000, 10_000_000, 30_000_000)] == [60, 100, 300]


def test_a_watchdog_that_is_turned_off_and_on_again_begins_anew(seat: Seat, ended: list[int]) -> None:
    dog, on = watchdog.Watchdog([seat]), seat.post
    for now in range(10):
        dog.look(now)
    seat.post = replace(on, settings=replace(on.settings, watchdog_us=None))
    dog.look(10.0)
    assert dog.due == math.inf
    seat.post = on
    for now in range(11, 21):
        dog.look(now)
    assert (ended, dog.due) == ([], 21.0)


# -- a fleet


def test_a_worker_that_hangs_in_c_code_is_replaced_and_it_is_said_where(
    fleet: Start, callers: list[socket.socket], tmp_path: Path, runtime: Path
) -> None:
    well = tmp_path / "well"
    process = fleet("2", "hangs", env={"FLEET_WELL": str(well)})
    pids = worker_pids(process, 2)
    until(lambda: len(process.events("worker.started")) == 2)
    callers += connect(process, 20)
    hung = process.wait_for("worker.hung")[0]
    well.touch()
    assert (hung["worker"], hung["pid"], hung["process_state"]) == (1, pids[1], "running")
    assert hung["silent_s"] >= 2
    first, *_ = hung["exception"].split("\n\n")
    assert first.startswith("Current thread"), "the one that hangs comes first"
    assert "in match" in first.splitlines()[1]
    assert "fleet.py" in first
    assert first.endswith("in <module>") or "in run" in first
    exited = process.wait_for("worker.exited")[0]
    assert (exited["pid"], exited["exit_code"]) == (pids[1], -signal.SIGKILL)
    successor = process.wait_for("worker.started", 3)[-1]
    all_serve(process, {0: pids[0], 1: successor["pid"]})
    until(lambda: not list(runtime.glob(f"gateway-*/stack-{pids[1]}")), "its file to go")
    process.popen.send_signal(signal.SIGTERM)
    process.ends_well()


def test_all_workers_may_hang_at_once_and_those_who_wait_are_served(fleet: Start) -> None:
    process = fleet("2", "watched")
    pids = worker_pids(process, 2)
    all_serve(process, pids)
    for pid in pids.values():
        os.kill(pid, signal.SIGSTOP)
    waiting = connect(process, 10)
    hung = process.wait_for("worker.hung", 2)
    for pid in pids.values():
        if alive(pid):  # just as it is killed
            os.kill(pid, signal.SIGCONT)
    assert {event["pid"] for event in hung} == set(pids.values())
    assert {event["process_state"] for event in hung} == {"stopped"}
    assert not any("exception" in event for event in hung), "who is stopped says nothing"
    answered = [sock.makefile().readline() for sock in waiting]
    assert {int(line.split()[1]) for line in answered} & set(pids.values()) == set()
    for sock in waiting:
        sock.close()
    process.popen.send_signal(signal.SIGTERM)
    process.ends_well()


def test_a_worker_that_goes_on_in_time_is_left_alone(fleet: Start) -> None:
    process = fleet("2", "watched")
    pids = worker_pids(process, 2)
    all_serve(process, pids)
    os.kill(pids[0], signal.SIGSTOP)
    os.kill(pids[1], signal.SIGSTOP)
    os.kill(pids[0], signal.SIGCONT)
    hung = process.wait_for("worker.hung")
    assert [event["worker"] for event in hung] == [1]
    until(lambda: ask(process)[0] == 1, "its successor")
    assert alive(pids[0])
    assert len(process.events("worker.hung")) == 1


def test_the_end_does_not_wait_for_one_that_hangs(fleet: Start) -> None:
    process = fleet("2", "watched")
    pids = worker_pids(process, 2)
    all_serve(process, pids)
    os.kill(pids[1], signal.SIGSTOP)
    process.popen.send_signal(signal.SIGTERM)
    assert process.wait() == 1
    assert [event["pid"] for event in process.events("worker.hung")] == [pids[1]]
    assert process.events("worker.cut") == []


# -- gateways


def worker_of_a_call(process: Process) -> int:
    before = len(process.events("http.access"))
    process.get("/hello", TENANT)
    return int(process.wait_for("http.access", before + 1)[-1]["worker"])


def test_callers_of_a_worker_that_hangs_get_its_successor_and_it_is_counted(start_gateway: Start) -> None:
    process = start_gateway("--workers", "2", env={**QUICK, **AT_ONCE})
    pids = worker_pids(process, 2)
    process.wait_for("gateway.ready", 2)
    until(lambda: worker_of_a_call(process) == 1, "its loop to turn: it has told its supervisor, too, that it serves")
    os.kill(pids[1], signal.SIGSTOP)
    waiting = connect(process, 10)
    for sock in waiting:
        sock.sendall(b"GET /hello HTTP/1.1\r\nHost: x\r\nX-Tenant-Id: a\r\n\r\n")
    assert {sock.recv(15) for sock in waiting} == {b"HTTP/1.1 200 OK"}
    for sock in waiting:
        sock.close()
    process.wait_for("gateway.ready", 3)
    scrape = until(lambda: process.get("/metrics", admin=True).body.decode(), "metrics")  # type: ignore[attr-defined]
    assert "\ngateway_worker_hangs_total 1.0\n" in scrape
    assert "\ngateway_worker_restarts_total 1.0\n" in scrape
    assert "\ngateway_worker_messages_dropped_total 0.0\n" in scrape
    process.popen.send_signal(signal.SIGTERM)
    process.ends_well()


@pytest.fixture
def hangs(start: Start) -> Start:
    """Function that starts a gateway of its own that hangs on SIGWINCH."""

    def begin(*options: str) -> Process:
        port, admin_port = free_port(), free_port()
        addresses = ("--listen", f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{admin_port}")
        process = start("-c", HANGS, "run", *addresses, *options, env={"GATEWAY_STORE__TIMEOUT": "5s", **QUICK})
        process.port, process.admin_port = port, admin_port
        process.wait_for("gateway.ready")
        return process

    return begin


def test_an_only_worker_goes_on_when_it_was_stopped_and_ends_when_it_hangs(hangs: Start) -> None:
    process = hangs()
    (store,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.popen.send_signal(signal.SIGSTOP)
    hold_up(2.5)
    process.popen.send_signal(signal.SIGCONT)
    assert process.get("/hello", {"X-Tenant-Id": "a"}).status == 200
    hold_up(1.0)  # it has looked since
    assert process.events("worker.hung") == []
    process.popen.send_signal(signal.SIGWINCH)
    until(process.ended, "its end: on a busy host it sees late that it hangs")
    assert process.wait() == EXIT_HUNG
    (hung,) = process.events("worker.hung")
    assert (hung["pid"], hung["worker"]) == (process.pid, 0)
    assert hung["silent_s"] >= 2
    assert " in hang\n" in hung["exception"]
    until(lambda: not alive(int(store)), "the embedded store to end")


@pytest.mark.parametrize(("workers", "exit_code"), [("1", EXIT_HUNG), ("2", EXIT_NOT_STARTED)])
def test_who_hangs_before_it_serves_is_no_start_that_never_ends(start: Start, workers: str, exit_code: int) -> None:
    options = ("--workers", workers, "--listen", "127.0.0.1:0", "--admin", "off")
    process = start("-c", HANGS_WHILE_IT_STARTS, "run", *options, env=QUICK)
    until(process.ended, "its end: on a busy host it sees late that it hangs")
    assert process.wait() == exit_code
    (hung,) = process.events("worker.hung")
    assert hung["worker"] == 0
    assert "in <lambda>" in hung["exception"]


def test_one_that_hangs_while_it_starts_is_followed_by_another(fleet: Start, tmp_path: Path) -> None:
    well = tmp_path / "well"
    process = fleet("2", "starts-badly", env={"FLEET_WELL": str(well)})
    hung = process.wait_for("worker.hung")[0]
    well.touch()
    assert hung["worker"] == 1
    until(lambda: ask(process)[0] == 1, "its successor")


def test_who_watches_may_be_stopped_with_those_who_are_watched(fleet: Start) -> None:
    """A container that is paused."""
    process = fleet("2", "watched")
    pids = worker_pids(process, 2)
    all_serve(process, pids)
    everybody = (process.pid, *pids.values())
    for pid in everybody:
        os.kill(pid, signal.SIGSTOP)
    hold_up(4.0)
    for pid in everybody:
        os.kill(pid, signal.SIGCONT)
    all_serve(process, pids)
    process.popen.send_signal(signal.SIGTERM)
    process.ends_well()
    assert process.events("worker.hung") == []
