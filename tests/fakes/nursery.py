"""Gateways that begin with everything imported: children of one process that has done it once, for the whole test run.
Small programs of tests that use the gateway's parts are born there as well.

Imports are nearly all that a gateway does until it is ready: without them it starts in a tenth of the CPU time. What is
forked runs the same `main` as `python -m gateway`, with arguments, environment, directory and streams of its own. That
the other way works is tested where the start itself is, and by what the README says to type.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).parents[2]
END_S = 60.0


class Child:
    """Has of `subprocess.Popen` what tests need of processes that they have started."""

    def __init__(self, report: socket.socket) -> None:
        self._report = report
        self.pid = int(report.recv(32))
        self.returncode: int | None = None

    def poll(self) -> int | None:
        return self._hear(0)

    def wait(self, timeout: float | None = None) -> int:
        """The exit code; negative: the signal that ended it. Raises subprocess.TimeoutExpired."""
        if (code := self._hear(timeout)) is None:
            raise subprocess.TimeoutExpired(f"gateway, pid {self.pid}", timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _hear(self, timeout: float | None) -> int | None:
        if self.returncode is None:
            self._report.settimeout(timeout)
            try:
                said = self._report.recv(32)
            except (TimeoutError, BlockingIOError):
                return None
            self.returncode = int(said) if said else -signal.SIGKILL  # the nursery is no more, nor are its children
            self._report.close()
        return self.returncode


class Nursery:
    """Where children are born. They end with it, however it ends."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control

    def gateway(
        self, *arguments: str, cwd: Path, env: Mapping[str, str], stdout: IO[bytes] | int, stderr: IO[bytes] | int
    ) -> Child:
        """Start the command `gateway` with these arguments; nothing comes from standard input. When the first of them
        is the path of a Python file, that one runs instead, as `python FILE` would."""
        message = json.dumps({"arguments": arguments, "cwd": str(cwd), "env": dict(env)}).encode()
        ours, report = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with report, Path(os.devnull).open("rb") as stdin:
            streams = (one if isinstance(one, int) else one.fileno() for one in (stdin, stdout, stderr, report))
            socket.send_fds(self._control, [message], list(streams))
        return Child(ours)


def program(*arguments: str, **where: Any) -> "subprocess.Popen[bytes]":
    """The ordinary way: a Python program with an interpreter of its own, where `Nursery.gateway` says."""
    return subprocess.Popen([sys.executable, *arguments], stdin=subprocess.DEVNULL, **where)


@contextmanager
def opened() -> Iterator[Nursery]:
    """A nursery. Whoever was born there and still lives is killed in the end."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.fakes.nursed", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C reaches pytest alone
        )
        theirs.close()
        yield Nursery(ours)
    process.wait(END_S)
