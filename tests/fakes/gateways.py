"""Gateways as real processes with real workers: started, watched through their log, and ended by whoever started them."""

import asyncio
import itertools
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tests.fakes.documented import cut_by_nobody, surprises, whole_lines
from tests.fakes.nursery import ROOT, Child, Nursery, program
from tests.fakes.ports import free_port
from tests.fakes.waiting import eventually

NOTHING: Mapping[str, str] = MappingProxyType({})
TRIES = 3
END_S = 60.0
LATEST_S = 120.0
"""For a gateway to be ready, with very many policies and on a busy host too."""


class PortTaken(AssertionError):
    """Somebody else, such as another run of tests, took the port between its choice and its use."""


@dataclass
class Process:
    """One `gateway run`, with all its workers."""

    process: "Child | subprocess.Popen[bytes]"
    port: int
    admin_port: int
    log: Path
    token: str = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stderr(self) -> str:
        return self.log.with_name("stderr").read_text()

    def log_lines(self) -> list[dict[str, Any]]:
        return _lines(self.log)

    def calls(self) -> list[dict[str, Any]]:
        return [line for line in self.log_lines() if line["event_name"] == "http.access"]

    def events(self, *names: str) -> list[dict[str, Any]]:
        """What all its processes said of themselves so far, under these names or any."""
        lines = _lines(self.log.with_name("stdout"))
        return [line for line in lines if not names or line["event_name"] in names]

    async def said(self, name: str, times: int) -> list[dict[str, Any]]:
        """Wait until it has said this so many times; all of it."""
        return await eventually(
            lambda: found if len(found := self.events(name)) >= times else [], f"{times} times {name}", gap_s=0.05
        )

    def worker_pids(self) -> dict[int, int]:
        """The process of each worker by its number, as last told. Empty for a gateway of one process."""
        return {line["worker"]: line["pid"] for line in self.events("worker.started")}

    async def stop(self) -> int:
        """SIGINT (no drain delay) and wait; the exit code."""
        self.process.send_signal(signal.SIGINT)
        return await self.ended()

    async def ended(self) -> int:
        """Wait until it has ended by itself; the exit code."""
        await eventually(lambda: self.process.poll() is not None, "the gateway ends", within_s=END_S)
        assert self.process.returncode is not None
        return self.process.returncode

    async def kill(self) -> None:
        """SIGKILL to the first process. Its workers notice, drain and end."""
        self.process.kill()
        await self.ended()

    async def end(self) -> None:
        """Stop it if it still runs, and fail if anything was not caught. Whatever does not end in time is killed."""
        try:
            await self.stop()
        except BaseException:
            for pid in (self.process.pid, *self.worker_pids().values()):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)  # also ends those that are stopped
            await self.ended()
            raise
        assert "Traceback" not in self.stderr(), self.stderr()
        events = self.events()
        assert surprises(events + self.log_lines()) == [], "docs/logs.md says so"
        for log in (self.log, self.log.with_name("stdout")):
            if log.exists():
                assert cut_by_nobody(log.read_bytes(), events, self.process.returncode) == []


def _lines(path: Path) -> list[dict[str, Any]]:
    """Whole lines; none of a log that is switched off."""
    return whole_lines(path.read_bytes()) if path.exists() else []


async def start_gateway(
    folder: Path,
    policies: str,
    *arguments: str,
    store: str,
    name: str = "gw-0",
    patience: str = "20s",
    env: Mapping[str, str] = NOTHING,
    more: str = "",
    token: str = "",
    nursery: Nursery | None = None,
) -> Process:
    """`gateway run` in a new folder, ready when this returns. The caller has to `end` it.

    nursery   where it is born; None: it has an interpreter of its own, which starts ten times as slowly
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
            return await _start(folder, settings, arguments, env, token, nursery)
    return await _start(folder, settings, arguments, env, token, nursery)


Launch = Callable[..., Awaitable[Process]]


@asynccontextmanager
async def launching(folder: Path, store: str, **options: Any) -> AsyncIterator[Launch]:
    """`await launch(policies, "--workers", "4")`: one more gateway, with these and further options of `start_gateway`;
    all of them end with the block."""
    started: list[Process] = []
    names = (f"gw-{number}" for number in itertools.count())

    async def launch(policies: str, *arguments: str, store: str = store, **more: Any) -> Process:
        name = next(names)
        one = await start_gateway(folder / name, policies, *arguments, store=store, name=name, **options, **more)
        started.append(one)
        return one

    try:
        yield launch
    finally:
        async with AsyncExitStack() as stack:
            for one in reversed(started):
                stack.push_async_callback(one.end)


async def _start(
    folder: Path, settings: str, arguments: Sequence[str], env: Mapping[str, str], token: str, nursery: Nursery | None
) -> Process:
    port, admin, log = free_port(), free_port(), folder / "access.log"
    (folder / "gateway.yaml").write_text(
        f"version: 1\nlisten: 127.0.0.1:{port}\nadmin: 127.0.0.1:{admin}\npolicies: policies\n"
        f'logging: {{access: "{log}"}}\n{settings}'
    )
    with (folder / "stdout").open("wb") as stdout, (folder / "stderr").open("wb") as stderr:
        where = {"cwd": ROOT, "env": {**os.environ, "PYTHONUNBUFFERED": "1", **env}, "stdout": stdout, "stderr": stderr}
        words = ("run", "-c", str(folder / "gateway.yaml"), *arguments)
        process = nursery.gateway(*words, **where) if nursery else program("-m", "gateway", *words, **where)
    one = Process(process, port, admin, log, token)
    try:
        await until_ready_is(one, b" 200 ")
    except BaseException:
        process.kill()
        process.wait()
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

    async def so() -> bool:
        if one.process.poll() is not None:
            said = one.stderr()
            raise PortTaken(said) if " is taken" in said else AssertionError(said)
        return status in (await ask_readiness(one)).partition(b"\r\n")[0]

    await eventually(so, f"readiness is {status.decode().strip()}", gap_s=0.02, within_s=LATEST_S)
