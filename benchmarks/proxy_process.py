"""A gateway process to be measured from outside, and an upstream that gives and takes as many bytes as it is told."""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.programs import START_S, free_port

MIB = 2**20
PIECE = os.urandom(256 * 1024)
POLICY = """
version: 1
upstreams: {up: {url: "http://127.0.0.1:%d"}}
routes: [{name: all, match: {path_prefix: /}, upstream: up}]
"""
SETTINGS = """
version: 1
name: measured
listen: 127.0.0.1:%d
admin: 127.0.0.1:%d
policies: policies
store: {url: local}
logging: {access: "%s"}
bounds: {%s}
drain: {%s}
"""


WITHOUT_UVLOOP = "import sys; sys.modules['uvloop'] = None; from gateway.cli import main; main()"


class Gateway:
    """One worker in a process of its own: `async with`. Ended by its pid.

    plain_loop  on asyncio's own event loop, as where there is no uvloop
    """

    def __init__(
        self,
        upstream_port: int,
        *,
        policy: str = POLICY,
        bounds: str = "",
        drain: str = "delay: 0s",
        open_files: int = 0,
        plain_loop: bool = False,
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="gateway-measured-")
        folder = Path(self._folder.name)
        self.port, self._admin = free_port(), free_port()
        self.log = folder / "access.log"
        self._stderr = folder / "stderr"
        (folder / "policies").mkdir()
        (folder / "policies" / "all.yaml").write_text(policy % upstream_port)
        (folder / "gateway.yaml").write_text(SETTINGS % (self.port, self._admin, self.log, bounds, drain))
        limit = f"ulimit -n {open_files}; " if open_files else ""
        module = f'-c "{WITHOUT_UVLOOP}"' if plain_loop else "-m gateway"
        self._command = f"{limit}exec {sys.executable} {module} run -q -c {folder / 'gateway.yaml'}"
        self.process: subprocess.Popen[bytes] | None = None

    async def __aenter__(self) -> Self:
        self.process = process = self._start()
        try:
            await self._listens(process)
        except BaseException:
            process.kill()
            self._folder.cleanup()
            raise
        return self

    async def _listens(self, process: subprocess.Popen[bytes]) -> None:
        """Wait until it does, on a busy host as well. Raises RuntimeError."""
        end = time.monotonic() + START_S
        while time.monotonic() < end:
            if process.poll() is not None:
                raise RuntimeError(self.errors())
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                await asyncio.sleep(0.02)
                continue
            writer.close()
            return
        raise RuntimeError("the gateway does not listen")

    def _start(self) -> "subprocess.Popen[bytes]":
        with self._stderr.open("wb") as stderr:
            return subprocess.Popen(["bash", "-c", self._command], stdout=subprocess.DEVNULL, stderr=stderr)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._process.poll() is None:
                await self.stop(signal.SIGINT)
        finally:
            self._process.kill()
            self._folder.cleanup()

    @property
    def _process(self) -> subprocess.Popen[bytes]:
        assert self.process is not None
        return self.process

    def errors(self) -> str:
        return self._stderr.read_text(errors="replace")

    def rss_bytes(self, name: str = "VmRSS") -> int:
        """Resident memory now; `VmHWM`: at its peak."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.split(f"{name}:")[1].split()[0]) * 1024

    def cpu_s(self) -> float:
        """User and system time so far."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def open_files(self) -> int:
        return len(list(Path(f"/proc/{self._process.pid}/fd").iterdir()))

    async def ask_admin(self, target: str) -> str:
        """The body of what the admin listener answers."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._admin)
        writer.write(f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        if not head.startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(head.decode())
        return body.decode()

    async def metrics(self) -> dict[str, float]:
        """Every series, as `name{labels}`, with its value."""
        lines = (await self.ask_admin("/metrics")).splitlines()
        return {
            series: float(value) for series, _, value in (line.rpartition(" ") for line in lines if line[:1] != "#")
        }

    async def stop(self, how: signal.Signals = signal.SIGTERM) -> tuple[int, float]:
        """(exit code, seconds it took)."""
        started = time.monotonic()
        self._process.send_signal(how)
        code = await asyncio.get_running_loop().run_in_executor(None, self._process.wait, 60)
        return code, time.monotonic() - started


class Source:
    """`GET /N` is answered with N bytes, as fast as they are taken; a request body is read and counted.

    `GET /hold` is never answered: it lasts until the gateway lets go of the socket. `GET /tunnel` switches protocols
    and sends everything back.

    slow_s  for so long a little of a request body is read at a time
    """

    def __init__(self, slow_s: float = 0.0) -> None:
        self._slow_s = slow_s
        self.port = 0
        self.open_sockets = 0
        self.taken_bytes = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=4096)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.open_sockets += 1
        try:
            while True:
                await self._answer(await reader.readuntil(b"\r\n\r\n"), reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._tasks.discard(task)
            self.open_sockets -= 1
            writer.close()

    async def _answer(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target = head.split(b" ", 2)[1].decode()
        length = head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]
        size = int(length) if length else 0
        taken = await take(reader, size, self._slow_s)
        self.taken_bytes += taken
        if taken < size:
            raise ConnectionResetError
        if target == "/hold":
            await reader.read(1)
            raise ConnectionResetError
        if target == "/tunnel":
            await self._echo(reader, writer)
        size = int(target[1:]) if target[1:].isdigit() else 2
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % size)
        while size > 0:
            writer.write(PIECE[:size])
            size -= len(PIECE)
            await writer.drain()

    async def _echo(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n")
        while data := await reader.read(MIB):
            writer.write(data)
            await writer.drain()
        raise ConnectionResetError


async def take(reader: asyncio.StreamReader, size: int, slow_s: float = 0.0) -> int:
    """Read so many bytes; for the first `slow_s` seconds a little at a time. How many came before the end."""
    taken, fast_from = 0, time.monotonic() + slow_s
    while taken < size:
        slow = slow_s > 0 and time.monotonic() < fast_from
        piece = await reader.read(min(size - taken, 4096 if slow else MIB))
        if not piece:
            break
        taken += len(piece)
        if slow:
            await asyncio.sleep(0.05)
    return taken


def request(target: str, *lines: str, method: str = "GET") -> bytes:
    return "\r\n".join((f"{method} {target} HTTP/1.1", "Host: a", *lines, "", "")).encode()
