"""Constant load: calls that leave when they are due, whether or not earlier ones were answered, and what became of each.

A caller that waits for its answer before it sends on never sees what others would have waited for. So each call has its
time from the beginning, and its latency counts from then.
"""

import asyncio
import re
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from tests.fakes.waiting import pause

_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
NO_ANSWER = 0


@dataclass(slots=True)
class Call:
    """One call and what became of it. Times are those of the event loop, in seconds.

    gateway  number of the gateway it goes to
    status   of the answer; NO_ANSWER: the connection was refused or lost
    """

    target: str
    tenant: str = ""
    gateway: int = 0
    due_s: float = 0.0
    sent_s: float = 0.0
    ended_s: float = 0.0
    status: int = NO_ANSWER
    head: bytes = b""
    method: str = "GET"

    @property
    def admitted(self) -> bool:
        """Whether the upstream's own answer came."""
        return self.status == 200

    @property
    def waited_s(self) -> float:
        """What its caller waited for the answer, from when it was due."""
        return self.ended_s - self.due_s

    def field(self, name: str) -> str:
        """A header field of the answer, empty if there is none."""
        found = re.search(rb"(?im)^" + re.escape(name.encode()) + rb":[ \t]*(.*?)[ \t]*\r$", self.head)
        return found[1].decode("latin-1") if found else ""


class _Socket(asyncio.Protocol):
    """One keep-alive connection with at most one call in flight."""

    def __init__(self, pool: "_Pool") -> None:
        self._pool = pool
        self._got = b""
        self._call: Call | None = None
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def send(self, call: Call) -> None:
        assert self.transport is not None
        self._call, self._got = call, b""
        call.sent_s = asyncio.get_running_loop().time()
        tenant = f"X-Tenant-Id: {call.tenant}\r\n" if call.tenant else ""
        self.transport.write(f"{call.method} {call.target} HTTP/1.1\r\nHost: api.example\r\n{tenant}\r\n".encode())

    def data_received(self, data: bytes) -> None:
        self._got += data
        head, end, body = self._got.partition(b"\r\n\r\n")
        call = self._call
        if not end or call is None or self.transport is None:
            return
        length = _LENGTH.search(head)
        assert length is not None, head
        if len(body) < int(length[1]):
            return
        call.status, call.head = int(head[9:12]), head + b"\r\n"
        self._call = None
        self._pool.ended(call)
        if b"\r\nconnection: close" in head.lower():
            self.transport.abort()
        else:
            self._pool.free(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._pool.lost(self)
        if self._call is not None:
            self._pool.ended(self._call)
            self._call = None


class _Pool:
    """Connections to one gateway, opened when all others are busy, and the calls that wait for one."""

    def __init__(self, load: "Load", port: int, most: int) -> None:
        self._load = load
        self._port = port
        self._most = most
        self._open = 0
        self._idle: deque[_Socket] = deque()
        self._waiting: deque[Call] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self.sockets: set[_Socket] = set()

    def send(self, call: Call) -> None:
        if self._idle:
            self._idle.popleft().send(call)
        elif self._open < self._most:
            self._open += 1
            task = asyncio.create_task(self._connect(call))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            self._waiting.append(call)

    async def open(self, count: int) -> None:
        """Connections for calls to come. Raises OSError where nobody listens."""
        self._open += count
        self._idle.extend([await self._dial() for _ in range(count)])

    async def _dial(self) -> _Socket:
        _, socket = await asyncio.get_running_loop().create_connection(lambda: _Socket(self), "127.0.0.1", self._port)
        self.sockets.add(socket)
        return socket

    async def _connect(self, call: Call) -> None:
        call.sent_s = asyncio.get_running_loop().time()
        try:
            socket = await self._dial()
        except OSError:
            self._open -= 1
            self.ended(call)
        else:
            socket.send(call)

    def free(self, socket: _Socket) -> None:
        if self._waiting:
            socket.send(self._waiting.popleft())
        else:
            self._idle.append(socket)

    def lost(self, socket: _Socket) -> None:
        self._open -= 1
        self.sockets.discard(socket)
        if socket in self._idle:
            self._idle.remove(socket)
        if self._waiting:
            self.send(self._waiting.popleft())

    def ended(self, call: Call) -> None:
        self._load.ended(call)

    def hang_up(self) -> None:
        for task in self._tasks:
            task.cancel()
        for socket in list(self.sockets):
            if socket.transport is not None:
                socket.transport.abort()


@dataclass
class Load:
    """Calls at a fixed rate to some gateways: `async with Load(ports) as load`. `calls` has them in the order sent.

    sockets  the most connections to each gateway at once; a call that finds none free waits, and that counts
    opened   how many of them there are from the beginning; calls take turns on those that are free
    """

    ports: Sequence[int]
    sockets: int = 32
    opened: int = 16
    calls: list[Call] = field(default_factory=list)
    _pools: list[_Pool] = field(default_factory=list)
    _answered: asyncio.Event = field(default_factory=asyncio.Event)
    _in_flight: int = 0

    async def __aenter__(self) -> Self:
        for port in self.ports:
            await self._pools[self.add(port)].open(min(self.opened, self.sockets))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pool in self._pools:
            pool.hang_up()

    def add(self, port: int) -> int:
        """One more gateway; its number."""
        self._pools.append(_Pool(self, port, self.sockets))
        return len(self._pools) - 1

    def send(self, call: Call) -> None:
        """Send one now."""
        call.due_s = call.due_s or asyncio.get_running_loop().time()
        self.calls.append(call)
        self._in_flight += 1
        self._answered.clear()
        self._pools[call.gateway].send(call)

    async def run(self, plan: Iterable[tuple[float, Call]]) -> None:
        """Send each call so many seconds from now; returns when all have ended."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        for after_s, call in plan:
            call.due_s = began + after_s
            if call.due_s > loop.time():
                await pause(call.due_s - loop.time(), "calls come when they are due")
            self.send(call)
        await self.idle()

    async def idle(self) -> None:
        """Until no call is in flight."""
        if self._in_flight:
            await self._answered.wait()

    def ended(self, call: Call) -> None:
        """For the pools: this call is over."""
        call.ended_s = asyncio.get_running_loop().time()
        self._in_flight -= 1
        if not self._in_flight:
            self._answered.set()


def percentile_ms(calls: Iterable[Call], percent: float) -> float:
    """Of what callers waited, in milliseconds."""
    waits = sorted(call.waited_s for call in calls)
    return 1000 * waits[min(len(waits) - 1, int(len(waits) * percent / 100))] if waits else 0.0


def by_status(calls: Iterable[Call]) -> Mapping[int, int]:
    """How many calls ended with each status, in order."""
    counts: dict[int, int] = {}
    for call in calls:
        counts[call.status] = counts.get(call.status, 0) + 1
    return dict(sorted(counts.items()))
