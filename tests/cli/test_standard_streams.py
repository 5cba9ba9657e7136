"""Standard output and error that are closed, or that take nothing."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pytest

from gateway.policy.shipped import shipped
from tests.cli.admin import answering
from tests.cli.conftest import Process, Start
from tests.cli.starting.running import AT_ONCE, TENANT, connects
from tests.fakes.documented import whole_lines
from tests.fakes.ports import free_port
from tests.fakes.waiting import until

THEN_RUN = "; import os, sys; os.execv(sys.executable, [sys.executable, '-m', 'gateway', *sys.argv[1:]])"
CLOSED = "import os; os.close({})" + THEN_RUN
PIPED = "import os; os.dup2({0}, 1); os.close({0})" + THEN_RUN
POLICIES = str(shipped("policies/default.yaml"))
FULL = "import os; [os.dup2(os.open('/dev/full', os.O_WRONLY), number) for number in (1, 2)]" + THEN_RUN


def started(start: Start, before: str) -> dict[int, str]:
    """What the standard streams of a gateway are, to which `before` does something."""
    port = free_port()
    process = start("-c", before, "run", "--listen", f"127.0.0.1:{port}", "--admin", "off", env=AT_ONCE)
    until(lambda: process.ended() or connects(port), "an answer")
    process.port = port
    assert process.get("/hello", TENANT).status == 200
    descriptors = Path(f"/proc/{process.pid}/fd")
    where = {number: str((descriptors / str(number)).readlink()) for number in (1, 2)}
    process.popen.send_signal(signal.SIGTERM)
    process.ends_well()
    return where


@pytest.mark.parametrize("number", [1, 2])
def test_what_is_printed_or_logged_goes_into_no_socket_when_the_stream_is_closed(start: Start, number: int) -> None:
    assert started(start, CLOSED.format(number))[number] == "/dev/null"


def test_a_full_disk_for_log_and_messages_stops_no_gateway(start: Start) -> None:
    assert started(start, FULL) == {1: "/dev/full", 2: "/dev/full"}


@dataclass
class Piped:
    """A gateway with two workers, and what it has logged into a pipe."""

    process: Process
    pipe: IO[bytes]
    log: bytes = b""

    def read_until_ready(self, workers: int) -> None:
        """Until so many say that they are."""
        while self.log.count(b'"gateway.ready"') < workers:
            self.log += self.pipe.read(65_536)

    def pids(self) -> list[int]:
        return [told["pid"] for told in whole_lines(self.log) if told["event_name"] == "worker.started"]

    def call(self, calls: int) -> None:
        """One behind the other on one connection: their lines are written together, and are more than the pipe holds."""
        request = b"GET /hello HTTP/1.1\r\nHost: x\r\nX-Tenant-Id: %d\r\n\r\n" % len(self.log)
        with socket.create_connection(("127.0.0.1", self.process.port), timeout=30) as caller:
            caller.sendall(request * calls)
            answers = b""
            while answers.count(b"HTTP/1.1 200") < calls:
                answers += caller.recv(65_536)

    def stopped_in_mid_line(self) -> bool:
        """Stop the workers; whether one is in the middle of a line. If not, they go on."""
        self.call(200)
        for pid in self.pids():
            os.kill(pid, signal.SIGSTOP)
            until(lambda pid=pid: stopped(pid))  # type: ignore[misc]
        os.set_blocking(self.pipe.fileno(), False)
        self.log += self.pipe.read() or b""
        os.set_blocking(self.pipe.fileno(), True)
        if not self.log.endswith(b"\n"):
            return True
        for pid in self.pids():
            os.kill(pid, signal.SIGCONT)
        return False


def stopped(pid: int) -> bool:
    threads = Path(f"/proc/{pid}/task").glob("*/stat")
    return {thread.read_text().rpartition(")")[2].split()[0] for thread in threads} == {"T"}


@pytest.fixture
def piped(start: Start) -> Iterator[Piped]:
    reading, writing = os.pipe()
    port = free_port()
    addresses = ("--listen", f"127.0.0.1:{port}", "--admin", "off")
    process = start("-c", PIPED.format(writing), "run", *addresses, "--workers", "2", env=AT_ONCE, pass_fds=[writing])
    process.port = port
    os.close(writing)
    with os.fdopen(reading, "rb", buffering=0) as pipe:
        yield Piped(process, pipe)


def test_the_line_of_a_worker_that_is_killed_in_its_middle_is_nobody_elses(piped: Piped) -> None:
    piped.read_until_ready(2)
    until(piped.stopped_in_mid_line)
    for pid in piped.pids():
        os.kill(pid, signal.SIGKILL)
    piped.read_until_ready(4)
    piped.process.popen.send_signal(signal.SIGTERM)
    piped.log += piped.pipe.read()
    piped.process.ends_well()
    assert len(whole_lines(piped.log)) >= len(piped.log.splitlines()) - 1


@pytest.mark.parametrize("encoding", ["ascii", "utf-8:strict"])
def test_what_the_terminal_has_no_letters_for_is_printed_as_escapes(tmp_path: Path, encoding: str) -> None:
    name = os.fsencode(tmp_path / "p\xe9") + b"\xff.yaml"
    Path(os.fsdecode(name)).write_text("verson: 1\n")
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "check", name],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": encoding},
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, b"")
    assert b"\\udcff.yaml:1:1: unknown section 'verson'" in done.stdout


def test_a_command_whose_output_is_closed_says_by_its_exit_code_how_it_went() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CLOSED.format(1), "check", "--print", POLICIES], stderr=subprocess.PIPE, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("words", [("--help",), ("check", POLICIES), ("explain", "GET /x", "-p", POLICIES), ("schema",), ("limits", "show"), ("status", "--watch")])  # fmt: skip
def test_a_command_whose_output_nobody_reads_ends_silently_as_others_do(words: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with answering({"GET": {"limits": []}}) as server:
        admin = f"127.0.0.1:{server.server_address[1]}"
        asking = ("--admin", admin) if words[0] in ("limits", "status") else ()
        done = subprocess.run(
            [sys.executable, "-m", "gateway", *words, *asking],
            stdout=writing,
            stderr=subprocess.PIPE,
            check=False,
            timeout=60,
        )
    os.close(writing)
    assert (done.returncode, done.stderr) == (-signal.SIGPIPE, b"")


def test_output_for_which_the_disk_has_no_room_is_a_failure() -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "gateway", "check", POLICIES], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert (done.returncode, done.stderr) == (1, b"gateway: No space left on device\n")
