"""Log files of real gateways: rotated under load by four workers at once, killed in mid-write, on a pipe nobody reads."""

import asyncio
import itertools
import json
import os
import signal
import subprocess
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.conftest import Launch, Process
from tests.fakes.upstream import OK, Held, Upstream
from tests.fakes.waiting import PATIENCE_S, eventually

POLICIES = """
version: 1
upstreams: {up: {url: "%s"}}
routes: [{name: all, match: {path_prefix: /}, upstream: up}]
"""
LANES = 8


async def call_until(gateway: Process, done: asyncio.Event, answered: list[str]) -> None:
    """Calls, one after the other; notes the ids of those that were answered."""
    async with httpx.AsyncClient(base_url=gateway.url, timeout=PATIENCE_S) as caller:
        while not done.is_set():
            try:
                answer = await caller.get("/x")
            except httpx.TransportError:
                continue
            answered.append(answer.headers["X-Request-Id"])


def ids(*logs: Path) -> list[str]:
    return [json.loads(line)["request_id"] for log in logs for line in log.read_bytes().splitlines()]


async def test_rotation_under_load_loses_no_line(launch: Launch, upstream: Upstream) -> None:
    gateway = await launch(POLICIES % upstream.url, "--workers", "4")
    done, answered = asyncio.Event(), []
    lanes = [asyncio.create_task(call_until(gateway, done, answered)) for _ in range(LANES)]
    rotated = []
    for number in range(5):
        more = len(answered) + 100
        await until_written(gateway.log, answered, more)
        rotated.append(gateway.log.rename(gateway.log.with_suffix(f".{number}")))
        gateway.process.send_signal(signal.SIGUSR1)
        await eventually(gateway.log.exists)
    done.set()
    await asyncio.gather(*lanes)
    assert await gateway.stop() == 0
    assert sorted(ids(*rotated, gateway.log)) == sorted(answered)


async def test_rotation_to_where_no_file_can_be_loses_no_line(launch: Launch, upstream: Upstream) -> None:
    gateway = await launch(POLICIES % upstream.url)
    rotated = gateway.log.with_suffix(".1")
    async with httpx.AsyncClient(base_url=gateway.url, timeout=PATIENCE_S) as caller:
        answered = [(await caller.get("/x")).headers["X-Request-Id"]]
        await until_logged(gateway.log, [answered[-1].encode()])
        gateway.log.rename(rotated)
        gateway.log.mkdir()
        gateway.process.send_signal(signal.SIGUSR1)

        async def told() -> list[dict[str, Any]]:
            answered.append((await caller.get("/x")).headers["X-Request-Id"])
            return gateway.events("log.kept")

        (kept,) = await eventually(told, gap_s=0.2)
        assert kept["reason"] == f"{gateway.log}: Is a directory"
        await until_logged(rotated, [answered[-1].encode()])
        gateway.log.rmdir()
        answered.append((await caller.get("/x")).headers["X-Request-Id"])
        await eventually(gateway.log.exists)
    assert await gateway.stop() == 0
    assert ids(rotated) + ids(gateway.log) == answered


@pytest.mark.parametrize("reader_comes", ["first", "last"])
async def test_a_named_pipe(launch: Launch, upstream: Upstream, tmp_path: Path, reader_comes: str) -> None:
    """Nobody has to read it for the gateway to start, and who reads it already is not told that it has ended."""
    log, copy = tmp_path / "pipe", tmp_path / "copy"
    os.mkfifo(log)
    async with AsyncExitStack() as stack:

        def read() -> None:
            reader = subprocess.Popen(["cat", str(log)], stdout=stack.enter_context(copy.open("wb")))
            stack.callback(reader.wait)

        if reader_comes == "first":
            read()
        gateway = await launch(POLICIES % upstream.url, env={"GATEWAY_LOGGING__ACCESS": str(log)})
        async with httpx.AsyncClient(base_url=gateway.url, timeout=PATIENCE_S) as caller:
            answer = await caller.get("/x")
        if reader_comes == "last":
            read()
        await eventually(lambda: answer.headers["X-Request-Id"].encode() in copy.read_bytes())
        assert await gateway.stop() == 0


class Caller:
    """Calls, on one connection after the other; `answered` has the request ids of each connection, in order."""

    def __init__(self) -> None:
        self.answered: list[list[str]] = []

    async def call_until(self, gateway: Process, done: asyncio.Event) -> None:
        last = None
        async with httpx.AsyncClient(base_url=gateway.url, timeout=PATIENCE_S) as caller:
            while not done.is_set():
                try:
                    answer = await caller.get("/x")
                except httpx.TransportError:
                    continue
                connection = answer.extensions["network_stream"]
                if connection is not last:
                    self.answered.append([])
                    last = connection
                self.answered[-1].append(answer.headers["X-Request-Id"])


async def more_calls(callers: list[Caller]) -> None:
    """At least two by each: of them only the first may have been answered by a worker that was gone before."""
    enough = [(caller, sum(map(len, caller.answered)) + 2) for caller in callers]
    await eventually(lambda: not any(sum(map(len, caller.answered)) < wanted for caller, wanted in enough))


async def until_written(log: Path, answered: list[str], count: int) -> None:
    await eventually(lambda: len(answered) >= count and log.stat().st_size)


async def until_logged(log: Path, ids: list[bytes]) -> None:
    await eventually(lambda: all(map(log.read_bytes().__contains__, ids)))


async def until_replaced(gateway: Process, killed: int) -> None:
    """Each that was killed has a successor, beside the two workers to begin with."""
    await eventually(lambda: len(gateway.events("worker.exited")) >= killed)
    await eventually(lambda: len(gateway.events("worker.started")) >= killed + 2)


async def test_a_killed_worker_loses_nothing_but_its_last_lines(launch: Launch, upstream: Upstream) -> None:
    gateway = await launch(POLICIES % upstream.url, "--workers", "2")
    done, callers = asyncio.Event(), [Caller() for _ in range(LANES)]
    lanes = [asyncio.create_task(caller.call_until(gateway, done)) for caller in callers]

    killed = 0
    for _ in range(3):
        await more_calls(callers)
        await until_logged(gateway.log, [caller.answered[-1][-1].encode() for caller in callers])
        await more_calls(callers)
        for pid in gateway.worker_pids().values():
            os.kill(pid, signal.SIGKILL)
            killed += 1
        await until_replaced(gateway, killed)
    await more_calls(callers)
    done.set()
    await asyncio.gather(*lanes)
    assert await gateway.stop() == 0
    whole = {call["request_id"] for call in gateway.calls()}
    for caller in callers:
        assert whole.issuperset(caller.answered[-1]), "nobody killed the worker of its last connection"
    for calls in itertools.chain(*(caller.answered for caller in callers)):
        # One connection, one worker: what is lost is what came last.
        on_file = [call in whole for call in calls]
        assert on_file == sorted(on_file, reverse=True)


async def test_the_last_lines_of_a_worker_are_counted_when_the_disk_is_full(launch: Launch, upstream: Upstream) -> None:
    upstream.script = held = Held(OK)
    gateway = await launch(POLICIES % upstream.url, "--workers", "2", env={"GATEWAY_LOGGING__ACCESS": "/dev/full"})
    admin = f"http://127.0.0.1:{gateway.admin_port}"
    async with httpx.AsyncClient(base_url=gateway.url, timeout=PATIENCE_S) as caller:
        last = asyncio.create_task(caller.get("/x", headers={"Connection": "close"}))
        await held.asked.wait()
        replaced = asyncio.create_task(caller.post(f"{admin}/-/reload?workers"))
        await gateway.said("gateway.draining", 1)
        await replaced
        held.go_on.set()
        assert (await last).status_code == 200
        await gateway.said("worker.replaced", 2)
        counts = (await caller.get(f"{admin}/metrics")).text.splitlines()
    assert "gateway_log_lines_dropped_total 1.0" in counts
