"""Standard output and error that are closed, or that take nothing."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.policy.shipped import shipped
from tests.cli.conftest import Start
from tests.cli.starting.running import AT_ONCE, TENANT, connects
from tests.fakes.ports import free_port
from tests.fakes.waiting import until

THEN_RUN = "; import os, sys; os.execv(sys.executable, [sys.executable, '-m', 'gateway', *sys.argv[1:]])"
CLOSED = "import os; os.close({})" + THEN_RUN
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


def test_a_command_whose_output_is_closed_says_by_its_exit_code_how_it_went() -> None:
    policies = str(shipped("policies/default.yaml"))
    done = subprocess.run(
        [sys.executable, "-c", CLOSED.format(1), "check", "--print", policies], stderr=subprocess.PIPE, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
