"""Real processes: started, watched through their output, and ended by the test that started them."""

import http.client
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.fakes.documented import cut_by_nobody, surprises, whole_lines
from tests.fakes.gateways import TRIES, PortTaken
from tests.fakes.nursery import Child, Nursery, program
from tests.fakes.ports import free_port
from tests.fakes.waiting import until

DEADLINE_S = 60.0
T = TypeVar("T")


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@dataclass
class Process:
    """One started program with its two outputs in files."""

    popen: "subprocess.Popen[bytes] | Child"
    out: Path
    err: Path
    port: int = 0
    admin_port: int = 0
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def pid(self) -> int:
        return self.popen.pid

    def stdout(self) -> str:
        return self.out.read_text()

    def stderr(self) -> str:
        return self.err.read_text()

    def events(self, name: str) -> list[dict[str, Any]]:
        """The log lines with this event name so far."""
        return [line for line in whole_lines(self.out.read_bytes()) if line.get("event_name") == name]

    def wait_for(self, event: str, count: int = 1) -> list[dict[str, Any]]:
        """Wait until an event has been logged `count` times."""

        def found() -> list[dict[str, Any]] | None:
            events = self.events(event)
            return events if len(events) >= count else None

        return until(found, f"{count} x {event} in {self.out}")

    def wait(self) -> int:
        """Its exit code; negative: the signal that ended it."""
        return self.popen.wait(DEADLINE_S)

    def ends_well(self) -> None:
        """Wait for it, and show what it said if it does not end with 0."""
        code = self.wait()
        assert code == 0, f"exit code {code}\n{self.stderr()}\n{self.stdout()[-4_000:]}"

    def ended(self) -> bool:
        return self.popen.poll() is not None

    def get(self, path: str, headers: Mapping[str, str] = {}, *, admin: bool = False) -> http.client.HTTPResponse:
        """One call on a connection of its own; the body has been read and is in `.body`."""
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.admin_port if admin else self.port, timeout=DEADLINE_S
        )
        try:
            connection.request("GET", path, headers=dict(headers))
            answer = connection.getresponse()
            answer.body = answer.read()  # type: ignore[attr-defined]
            return answer
        finally:
            connection.close()


def server_pid(process: Process) -> int:
    """Pid of the embedded store: the child that is not a Python program."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return next(int(pid) for pid in children if "valkey" in str(Path(f"/proc/{pid}/exe").readlink()))


Start = Callable[..., Process]


@pytest.fixture
def runtime() -> Iterator[Path]:
    """Where gateways put their runtime directories. Short: the path of a unix socket has about 100 bytes."""
    directory = Path(tempfile.mkdtemp(prefix="gw-", dir="/tmp"))
    yield directory
    until(lambda: _removed(directory), "workers of a killed gateway write there until they have ended")


@pytest.fixture
def notify(runtime: Path) -> Iterator[Path]:
    """Where a service manager may listen."""
    with tempfile.TemporaryDirectory(prefix="gw-", dir=runtime.parent) as directory:
        yield Path(directory) / "notify"


def _removed(directory: Path) -> bool:
    shutil.rmtree(directory, ignore_errors=True)
    return not directory.exists()


@pytest.fixture
def start(tmp_path: Path, runtime: Path) -> Iterator[Start]:
    """Function that starts a Python program: `start("script.py", "argument", cwd=..., env={...}, pass_fds=[...])`. With a
    nursery it is the command `gateway` that starts there, with these arguments."""
    started: list[Process] = []

    def begin(
        *arguments: str,
        cwd: Path | None = None,
        env: Mapping[str, str | None] = {},
        pass_fds: Sequence[int] = (),
        nursery: Nursery | None = None,
    ) -> Process:
        number = len(started)
        out, err = tmp_path / f"{number}.out", tmp_path / f"{number}.err"
        environment = {**os.environ, "TMPDIR": str(runtime), **env}
        given = {name: value for name, value in environment.items() if value is not None}
        begins = nursery.gateway if nursery else partial(program, pass_fds=pass_fds)
        with out.open("wb") as stdout, err.open("wb") as stderr:
            popen = begins(*arguments, cwd=cwd or tmp_path, env=given, stdout=stdout, stderr=stderr)
        process = Process(popen, out, err)
        started.append(process)
        return process

    yield begin
    for process in started:
        if not process.ended():
            process.popen.send_signal(signal.SIGKILL)  # its workers and its store end with it
        process.wait()
    for process in started:
        told = list(_objects(process.stdout()))
        assert surprises(told) == [], "docs/logs.md says so"
        assert cut_by_nobody(process.out.read_bytes(), told, process.popen.returncode) == []


def _objects(text: str) -> Iterator[dict[str, Any]]:
    for line in text.splitlines():
        with suppress(ValueError):
            found = json.loads(line)
            if isinstance(found, dict):
                yield found


@pytest.fixture
def start_gateway(start: Start, nursery: Nursery) -> Start:
    """Function that starts `gateway run` on free ports with the given options, and waits until it is ready.

    It starts in the nursery; with `fresh=True` as people start it, which takes ten times as long. When somebody else took
    a port meanwhile, it is started on others.
    However busy the machine, the store decides: whoever is about a store that is late says how late it may be.
    """

    def begin(*options: str, **how: Any) -> Process:
        for _ in range(TRIES - 1):
            with suppress(PortTaken):
                return begin_once(*options, **how)
        return begin_once(*options, **how)

    def begin_once(
        *options: str, ready: bool = True, fresh: bool = False, env: Mapping[str, str | None] = {}, **where: Any
    ) -> Process:
        port, admin_port = free_port(), free_port()
        addresses = ("--listen", f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{admin_port}")
        env = {"GATEWAY_STORE__TIMEOUT": "5s", **env}
        words = ("run", *addresses, *options)
        if fresh:
            process = start("-m", "gateway", *words, env=env, **where)
        else:
            process = start(*words, env=env, nursery=nursery, **where)
        process.port, process.admin_port = port, admin_port
        if ready:
            until(
                lambda: "try " in process.stderr() or process.ended(),
                f"the gateway to start: {process.stderr()}",
            )
            if process.ended():
                said = process.stderr()
                raise PortTaken(said) if " is taken" in said else AssertionError(said)
        return process

    return begin
