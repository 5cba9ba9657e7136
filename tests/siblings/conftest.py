"""A switchboard as the supervisor has it, in a thread of its own, and workers' ends in the test's event loop."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from gateway.siblings import Siblings
from gateway.supervisor.switchboard import Line, Switchboard


@dataclass
class Exchange:
    """`run` does something with the switchboard between two of its turns, as the supervisor would."""

    lines: list[Line] = field(default_factory=list)
    orders: list[Callable[[], object]] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)
    dropped: int = 0

    def __post_init__(self) -> None:
        self.board = Switchboard(self._count)
        self._wake_fd, self._waker_fd = os.pipe()
        self.board.poll.register(self._wake_fd, 1)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _count(self) -> None:
        self.dropped += 1

    def _serve(self) -> None:
        while not self.ended.is_set():
            for fd, happened in self.board.poll.poll():
                if fd == self._wake_fd:
                    os.read(fd, 1)
                    self.orders.pop(0)()
                else:
                    self.board.serve(fd, happened)

    async def run(self, order: Callable[[], object]) -> None:
        """Wait until the switchboard's thread has done it."""
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        self.orders.append(lambda: (order(), loop.call_soon_threadsafe(done.set)))
        os.write(self._waker_fd, b".")
        await done.wait()

    def end(self) -> None:
        self.orders.append(self.ended.set)
        os.write(self._waker_fd, b".")
        self._thread.join()
        for line in self.lines:
            self.board.close(line)
        os.close(self._wake_fd)
        os.close(self._waker_fd)

    def line(self, index: int) -> "tuple[Line, object]":
        """A new line, and its worker's end."""
        line = self.board.open(index)
        theirs = line.theirs.dup()
        self.lines.append(line)
        return line, theirs


@pytest.fixture
async def exchange() -> AsyncIterator[Exchange]:
    made = Exchange()
    yield made
    made.end()


Worker = Callable[..., Awaitable[Siblings]]


@pytest.fixture
async def worker(exchange: Exchange) -> AsyncIterator[Worker]:
    """Connects one more worker; `handlers` are what it answers."""
    made: list[Siblings] = []

    async def connect(index: int, **handlers: object) -> Siblings:
        opened: list[tuple[Line, object]] = []
        await exchange.run(lambda: opened.append(exchange.line(index)))
        line, theirs = opened[0]
        siblings = Siblings(index, theirs)  # type: ignore[arg-type]
        for what, handler in handlers.items():
            siblings.on(what, handler)  # type: ignore[arg-type]
        await siblings.start()
        await exchange.run(lambda: exchange.board.connect(line))
        made.append(siblings)
        return siblings

    yield connect
    for siblings in made:
        await siblings.close()
