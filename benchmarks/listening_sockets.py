"""How evenly connections spread over workers: one shared listening socket against one each (SO_REUSEPORT).

    python benchmarks/listening_sockets.py [workers]

Each worker answers a connection with its number after 0.2 ms of work. Three patterns: 64 connections opened at once
(what a pool of kept connections does when it starts), 640 one after the other, and 8 callers that open a connection
for each of 1,600 calls. The figures are quoted in `docs/operations.md`.
"""

import asyncio
import os
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import cast

import uvloop

WORK_S = 0.0002
BACKLOG = 4_096


class Answer(asyncio.Protocol):
    """One byte in, the worker's number out."""

    def __init__(self, number: int) -> None:
        self.number = number

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        end = time.perf_counter() + WORK_S
        while time.perf_counter() < end:
            pass
        self.transport.write(b"%d" % self.number)


def listening(count: int, shared: bool) -> list[socket.socket]:
    """`count` sockets on one port, or one socket `count` times."""
    first = listen(0, not shared)
    return [first, *(first if shared else listen(first.getsockname()[1], True) for _ in range(count - 1))]


def listen(port: int, reuse_port: bool) -> socket.socket:
    sock = socket.socket()
    if reuse_port:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind(("127.0.0.1", port))
    sock.listen(BACKLOG)
    sock.setblocking(False)
    return sock


def fork_workers(sockets: Sequence[socket.socket]) -> list[int]:
    async def serve(number: int, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        async with await loop.create_server(lambda: Answer(number), sock=sock, backlog=BACKLOG) as server:
            await server.serve_forever()

    pids = []
    for number, sock in enumerate(sockets):
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            uvloop.run(serve(number, sock))
        pids.append(pid)
    return pids


class Caller:
    """Counts who answered, and how long connect and call took."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.answered: Counter[int] = Counter()
        self.took_s: list[float] = []

    async def call(self) -> None:
        began = time.perf_counter()
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(b"?")
        self.answered[int(await reader.read(10))] += 1
        self.took_s.append(time.perf_counter() - began)
        writer.close()

    async def calls(self, count: int) -> None:
        for _ in range(count):
            await self.call()

    def told(self, workers: int) -> str:
        counts = sorted(self.answered[number] for number in range(workers))
        p99 = sorted(self.took_s)[int(len(self.took_s) * 0.99)]
        return f"least {counts[0]:4}  most {counts[-1]:4}  p99 {p99 * 1e3:5.1f} ms"


async def measure(port: int, workers: int, name: str) -> None:
    for pattern, callers, each in (("64 at once", 64, 1), ("640 in turn", 1, 640), ("1600 by 8 callers", 8, 200)):
        caller = Caller(port)
        await asyncio.gather(*(caller.calls(each) for _ in range(callers)))
        print(f"{name:7} {pattern:18} {caller.told(workers)}")


def main() -> None:
    workers = int(sys.argv[1]) if len(sys.argv) > 1 else 4
    for name, shared in (("shared", True), ("each", False)):
        sockets = listening(workers, shared)
        pids = fork_workers(sockets)
        try:
            asyncio.run(measure(sockets[0].getsockname()[1], workers, name))
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGTERM)
                os.waitpid(pid, 0)


if __name__ == "__main__":
    main()
