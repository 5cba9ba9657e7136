"""The wire between a gateway and its server, over TCP: as slow, uneven or dead as it is told."""

import asyncio
import random
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.fakes.waiting import pause


@dataclass
class Wire:
    """Leads from a TCP port to a server's unix socket: `async with Wire(path)`. Everything may be changed under way.

    delay_s, jitter_s  how much later each piece of an answer arrives; pieces never overtake each other
    whole              cleared: nothing passes in either direction, and what was sent waits, as when packets get lost
    dialled            when each connection came, by the event loop
    """

    server: Path
    delay_s: float = 0.0
    jitter_s: float = 0.0
    whole: asyncio.Event = field(default_factory=asyncio.Event)
    dialled: list[float] = field(default_factory=list)
    open: int = 0
    port: int = 0
    _listener: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _draw: random.Random = field(default_factory=lambda: random.Random(1))

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self.whole.set()
        self._listener = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._listener is not None
        self._listener.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.dialled.append(asyncio.get_running_loop().time())
        self.open += 1
        try:
            far, forth = await asyncio.open_unix_connection(str(self.server))
            try:
                ways = (self._carry(near, forth), self._carry_late(far, back))
                await asyncio.wait([asyncio.ensure_future(way) for way in ways], return_when=asyncio.FIRST_COMPLETED)
            finally:
                forth.transport.abort()
        except (OSError, asyncio.CancelledError):
            pass  # the server is not there, or the test is over
        finally:
            self.open -= 1
            back.transport.abort()
            self._tasks.discard(task)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(2**16):
                await self.whole.wait()
                writer.write(data)

    async def _carry_late(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Each piece has its own time of arrival, no earlier than that of the piece before."""
        loop, pieces = asyncio.get_running_loop(), asyncio.Queue[tuple[float, bytes]]()
        pump = loop.create_task(self._deliver(pieces, writer))
        try:
            with suppress(OSError):
                while data := await reader.read(2**16):
                    await self.whole.wait()
                    late_s = self.delay_s + self._draw.uniform(0, self.jitter_s)
                    pieces.put_nowait((loop.time() + late_s, data))
        finally:
            pump.cancel()

    async def _deliver(self, pieces: "asyncio.Queue[tuple[float, bytes]]", writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        while True:
            at, data = await pieces.get()
            if at > loop.time():
                await pause(at - loop.time(), "the wire is slow")
            writer.write(data)
