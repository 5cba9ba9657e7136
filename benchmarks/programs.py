"""Programs in sessions of their own, and what they used: CPU time and memory from the kernel's own accounts."""

import contextlib
import http.client
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

TICK_US = 1_000_000 / os.sysconf("SC_CLK_TCK")
PROXY_CORE, OTHER_CORE, ALL_CORES = "0", "1", "0,1"
START_S, STOP_S = 30.0, 10.0
PORTS = range(12_000, 20_000)


class Failed(Exception):
    """A part did not start or did not do what it is there for."""


def free_port() -> int:
    """A loopback port that nothing uses now, of those that the kernel gives nobody by itself, and that no test asks for
    by its number; never one twice, as long as this process lives.

    Whoever got it may not have begun to listen, so it is also claimed, by a name that only one process can have
    (abstract unix sockets end with their process): tests that run beside these measure, too.

    Raises Failed when there is none, as where the system has no such names.
    """
    for port in random.sample(PORTS, len(PORTS)):
        with socket.socket() as probe, socket.socket(socket.AF_UNIX) as claim, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            claim.bind(f"\0gateway-measured-port-{port}")
            claim.detach()
            return port
    raise Failed("no port of 127.0.0.1 could be had and claimed: it takes Linux, and one that is free")


def _stat(pid: int) -> tuple[int, int, float]:
    """(parent, session, CPU microseconds of the process and the children it has reaped)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[1]), int(fields[3]), sum(map(int, fields[11:15])) * TICK_US


@dataclass
class Program:
    """A program with all its descendants, in a session of its own."""

    name: str
    process: subprocess.Popen[bytes]
    output: Path

    def members(self) -> list[int]:
        """Process ids of the session and everything below it."""
        rows: dict[int, tuple[int, int]] = {}
        for entry in [path.name for path in Path("/proc").iterdir() if path.name.isdigit()]:
            with contextlib.suppress(OSError):
                parent, session, _ = _stat(int(entry))
                rows[int(entry)] = (parent, session)
        found = {pid for pid, (_, session) in rows.items() if session == self.process.pid}
        while more := {pid for pid, (parent, _) in rows.items() if parent in found} - found:
            found |= more
        return sorted(found)

    def cpu_us(self) -> float:
        """CPU time so far, user and system."""
        total = 0.0
        for pid in self.members():
            with contextlib.suppress(OSError):
                total += _stat(pid)[2]
        return total

    def memory_mib(self) -> float:
        """Resident memory, shared pages counted once."""
        kib = 0
        for pid in self.members():
            with contextlib.suppress(OSError):
                rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
                kib += int(re.search(r"^Pss:\s+(\d+)", rollup, re.MULTILINE)[1])  # type: ignore[index]
        return kib / 1024

    def stop(self) -> None:
        """SIGTERM to the program, SIGKILL to what is left of it."""
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_S)
        for pid in self.members():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


@contextlib.contextmanager
def running(name: str, command: list[str], cores: str, up: Callable[[], bool], **env: str) -> Iterator[Program]:
    """Start a program on these cores, wait until `up()`, stop it in the end. Raises Failed with its last output."""
    with tempfile.TemporaryDirectory(prefix="gateway-bench-") as folder:
        output = Path(folder) / "output"
        pinned = ["taskset", "-c", cores, *command]
        with output.open("wb") as out:
            process = subprocess.Popen(
                pinned,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env={**os.environ, **env},
                start_new_session=True,
            )
        program = Program(name, process, output)
        try:
            _await(program, up)
            yield program
        finally:
            program.stop()


def _await(program: Program, up: Callable[[], bool]) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        if program.process.poll() is not None:
            break
        with contextlib.suppress(OSError, http.client.HTTPException):
            if up():
                return
        time.sleep(0.05)
    raise Failed(f"{program.name} did not start: {program.output.read_text(errors='replace')[-800:]}")


def need(*tools: str) -> None:
    """Raise Failed naming the missing tools."""
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing:
        raise Failed(f"missing: {' '.join(missing)} (Debian: apt-get install wrk nginx redis-server util-linux)")


def get(port: int, tenant: str = "check", path: str = "/v1/items?x=1") -> tuple[int, bytes]:
    """One GET: (status, body)."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        connection.request("GET", path, headers={"X-Tenant": tenant, "X-Connection": tenant})
        answer = connection.getresponse()
        return answer.status, answer.read()
