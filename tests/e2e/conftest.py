"""Gateways as real processes, with real workers, upstreams that count for themselves, and a real server."""

import asyncio
import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from tests.fakes.ports import free_port
from tests.fakes.upstream import Upstream


@dataclass
class Process:
    """One `gateway run`, with all its workers."""

    process: asyncio.subprocess.Process
    port: int
    admin_port: int
    log: Path
    stderr: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def log_lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_bytes().splitlines()]

    def calls(self) -> list[dict[str, Any]]:
        return [line for line in self.log_lines() if line["event_name"] == "http.access"]

    async def stop(self) -> int:
        """SIGINT (no drain delay) and wait; the exit code."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGINT)
        return await asyncio.wait_for(self.process.wait(), 20)


Launch = Callable[..., Awaitable[Process]]


@pytest.fixture
async def launch(redis_url: str, redis_client: Any, tmp_path: Path) -> AsyncIterator[Launch]:
    """`await launch(policies_yaml, "--workers", "4")`: started, ready, and ended by its pid afterwards."""
    started: list[Process] = []
    numbers = itertools.count()

    async def start(
        policies: str, *arguments: str, store: str = redis_url, env: Mapping[str, str] = MappingProxyType({})
    ) -> Process:
        number = next(numbers)
        folder = tmp_path / f"gateway{number}"
        folder.mkdir()
        (folder / "policies").mkdir()
        (folder / "policies" / "test.yaml").write_text(policies)
        port, admin = free_port(), free_port()
        (folder / "gateway.yaml").write_text(
            f"version: 1\nname: gw-{number}\nlisten: 127.0.0.1:{port}\nadmin: 127.0.0.1:{admin}\npolicies: policies\n"
            f'store: {{url: "{store}", timeout: 5s}}\nlogging: {{access: "{folder / "access.log"}"}}\n'
        )
        with (folder / "stdout").open("wb") as stdout:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "gateway", "run", "-c", str(folder / "gateway.yaml"), *arguments),
                stdout=stdout,
                stderr=subprocess.PIPE,
                cwd=Path(__file__).parents[2],
                env={**os.environ, "PYTHONUNBUFFERED": "1", **env},
            )
        one = Process(process, port, admin, folder / "access.log")
        started.append(one)
        await until_ready_is(one, b" 200 ")
        return one

    yield start
    for one in started:
        await one.stop()
        assert one.process.stderr is not None
        one.stderr = (await one.process.stderr.read()).decode().splitlines()
        assert not any("Traceback" in line for line in one.stderr), "\n".join(one.stderr)


async def until_ready_is(one: Process, status: bytes) -> None:
    """Until the admin listener answers so about readiness; fails with the process's own words when it ends first."""
    while one.process.returncode is None:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", one.admin_port)
        except OSError:
            await asyncio.sleep(0.02)
            continue
        writer.write(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()
        if status in answer.partition(b"\r\n")[0]:
            return
        await asyncio.sleep(0.02)
    assert one.process.stderr is not None
    raise AssertionError((await one.process.stderr.read()).decode())


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    """An upstream that counts what reaches it."""
    async with Upstream() as server:
        yield server
