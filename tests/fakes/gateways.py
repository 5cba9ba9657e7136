"""Gateways as real processes with real workers: started, watched through their log, and ended by whoever started them."""

import asyncio
import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tests.fakes.documented import surprises
from tests.fakes.ports import free_port

ROOT = Path(__file__).parents[2]
NOTHING: Mapping[str, str] = MappingProxyType({})
TRIES = 3
END_S = 20.0


class PortTaken(AssertionError):
    """Somebody else, such as another run of tests, took the port between its choice and its use."""


@dataclass
class Process:
    """One `gateway run`, with all its workers."""

    process: asyncio.subprocess.Process
    port: int
    admin_port: int
    log: Path
    token: str = ""
    stderr: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def log_lines(self) -> list[dict[str, Any]]:
        return _lines(self.log)

    def calls(self) -> list[dict[str, Any]]:
        return [line for line in self.log_lines() if line["event_name"] == "http.access"]

    def events(self, *names: str) -> list[dict[str, Any]]:
        """What all its processes said of themselves so far, under these names or any."""
        lines = _lines(self.log.with_name("stdout"))
        return [line for line in lines if not names or line["event_name"] in names]

    def worker_pids(self) -> dict[int, int]:
        """The process of each worker by its number, as last told. Empty for a gateway of one process."""
        return {line["worker"]: line["pid"] for line in self.events("worker.started")}

    async def stop(self) -> int:
        """SIGINT (no drain delay) and wait; the exit code."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGINT)
        return await asyncio.wait_for(self.process.wait(), END_S)

    async def kill(self) -> None:
        """SIGKILL to the first process. Its workers notice, drain and end."""
        self.process.kill()
        await self.process.wait()

    async def end(self) -> None:
        """Stop it if it still runs, and fail if anything was not caught. Whatever does not end in time is killed."""
        assert self.process.stderr is not None
        try:
            await self.stop()
            self.stderr = (await asyncio.wait_for(self.process.stderr.read(), END_S)).decode().splitlines()
        except BaseException:
            for pid in (self.process.pid, *self.worker_pids().values()):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)  # also ends those that are stopped
            await self.process.wait()
            raise
        assert not any("Traceback" in line for line in self.stderr), "\n".join(self.stderr)
        assert surprises(self.events() + self.log_lines()) == [], "docs/logs.md says so"


def _lines(path: Path) -> list[dict[str, Any]]:
    whole, _, _ = path.read_bytes().rpartition(b"\n")
    return [json.loads(line) for line in whole.splitlines()]


async def start_gateway(
    folder: Path,
    policies: str,
    *arguments: str,
    store: str,
    name: str = "gw-0",
    patience: str = "5s",
    env: Mapping[str, str] = NOTHING,
    more: str = "",
    token: str = "",
) -> Process:
    """`gateway run` in a new folder, ready when this returns. The caller has to `end` it.

    patience  timeout of the store; the default is one that a busy machine does not reach
    more      further lines of the settings
    token     the admin listener wants it
    """
    if token:
        env, more = {**env, "ADMIN_TOKEN": token}, f"{more}admin_token: env:ADMIN_TOKEN\n"
    (folder / "policies").mkdir(parents=True)
    (folder / "policies" / "test.yaml").write_text(policies)
    settings = f'name: {name}\nstore: {{url: "{store}", timeout: {patience}}}\n{more}'
    for _ in range(TRIES - 1):
        with suppress(PortTaken):
            return await _start(folder, settings, arguments, env, token)
    return await _start(folder, settings, arguments, env, token)


Launch = Callable[..., Awaitable[Process]]


@asynccontextmanager
async def launching(folder: Path, store: str) -> AsyncIterator[Launch]:
    """`await launch(policies, "--workers", "4")`: one more gateway, with the options of `start_gateway`; all of them end
    with the block."""
    started: list[Process] = []
    names = (f"gw-{number}" for number in itertools.count())

    async def launch(policies: str, *arguments: str, store: str = store, **options: Any) -> Process:
        name = next(names)
        one = await start_gateway(folder / name, policies, *arguments, store=store, name=name, **options)
        started.append(one)
        return one

    try:
        yield launch
    finally:
        async with AsyncExitStack() as stack:
            for one in reversed(started):
                stack.push_async_callback(one.end)


async def _start(folder: Path, settings: str, arguments: Sequence[str], env: Mapping[str, str], token: str) -> Process:
    port, admin, log = free_port(), free_port(), folder / "access.log"
    (folder / "gateway.yaml").write_text(
        f"version: 1\nlisten: 127.0.0.1:{port}\nadmin: 127.0.0.1:{admin}\npolicies: policies\n"
        f'logging: {{access: "{log}"}}\n{settings}'
    )
    with (folder / "stdout").open("wb") as stdout:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gateway", "run", "-c", str(folder / "gateway.yaml"), *arguments),
            stdout=stdout,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **env},
        )
    one = Process(process, port, admin, log, token)
    try:
        await until_ready_is(one, b" 200 ")
    except BaseException:
        if process.returncode is None:
            process.kill()
        raise
    return one


async def ask_readiness(one: Process, query: str = "") -> bytes:
    """The admin listener's whole answer about readiness. Raises OSError while nobody listens."""
    reader, writer = await asyncio.open_connection("127.0.0.1", one.admin_port)
    shown = f"Authorization: Bearer {one.token}\r\n" if one.token else ""
    writer.write(f"GET /readyz{query} HTTP/1.1\r\nHost: localhost\r\n{shown}Connection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return answer


async def until_ready_is(one: Process, status: bytes) -> None:
    """Until the admin listener answers so about readiness; fails with the process's own words when it ends first."""
    while one.process.returncode is None:
        try:
            answer = await ask_readiness(one)
        except OSError:
            answer = b""
        if status in answer.partition(b"\r\n")[0]:
            return
        await asyncio.sleep(0.02)
    assert one.process.stderr is not None
    said = (await one.process.stderr.read()).decode()
    raise PortTaken(said) if " is taken" in said else AssertionError(said)
