"""An upstream on a real socket that records the exact bytes it gets and answers with the exact bytes it is told."""

import asyncio
import re
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

BACKLOG = 1000
"""Callers that connect at once while the test is busy: those beyond it would try again after a second, and too late."""


@dataclass
class Received:
    """One request as it arrived."""

    head: bytes
    body: bytes
    connection: int  # number of the socket, from 0

    @property
    def target(self) -> str:
        return self.head.split(b" ", 2)[1].decode("latin-1")

    @property
    def method(self) -> str:
        return self.head.split(b" ", 1)[0].decode("latin-1")

    def fields(self, name: str) -> list[str]:
        """Values of a header field, in order."""
        pattern = re.compile(rb"(?im)^" + re.escape(name.encode()) + rb":[ \t]*(.*?)[ \t]*\r$")
        return [value.decode("latin-1") for value in pattern.findall(self.head)]


@dataclass
class Socket:
    """What a script may do with the socket a request came on."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    number: int

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def reset(self) -> None:
        """Close with RST."""
        self.writer.transport.abort()


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Script = Callable[[Received, Socket], Awaitable[bytes | None]]


async def answer_ok(_request: Received, _socket: Socket) -> bytes:
    return OK


def always(response: bytes) -> Script:
    """A script that gives the same bytes to every request."""

    async def script(_request: Received, _socket: Socket) -> bytes:
        return response

    return script


class Held:
    """A script that answers nobody before `go_on` is set. `asked` is set when the first request is there."""

    def __init__(self, response: bytes) -> None:
        self.asked, self.go_on = asyncio.Event(), asyncio.Event()
        self._response = response

    async def __call__(self, _request: Received, _socket: Socket) -> bytes:
        self.asked.set()
        await self.go_on.wait()
        return self._response


@dataclass
class Upstream:
    """Use as an async context manager. `script` may be replaced at any time.

    A script returns the bytes to send (None: it has dealt with the socket itself and the socket is done with).
    """

    script: Script = answer_ok
    read_body: bool = True
    received: list[Received] = field(default_factory=list)
    open_sockets: int = 0
    accepted: int = 0
    port: int = 0
    tls: ssl.SSLContext | None = None
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._accepted, "127.0.0.1", self.port, limit=2**20, ssl=self.tls, backlog=BACKLOG
        )
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

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something about this upstream is so (checked whenever a request or a socket comes or goes)."""
        async with self._changed:
            await self._changed.wait_for(condition)

    async def _note(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        number = self.accepted
        self.accepted += 1
        self.open_sockets += 1
        await self._note()
        try:
            await self._serve(Socket(reader, writer, number))
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the gateway left, or the test is over
        finally:
            self.open_sockets -= 1
            self._tasks.discard(task)
            writer.close()
            with suppress(asyncio.CancelledError):
                await self._note()

    async def _serve(self, socket: Socket) -> None:
        while True:
            head = await socket.reader.readuntil(b"\r\n\r\n")
            request = Received(head, b"", socket.number)
            if self.read_body:
                request.body = await _read_body(head, socket.reader)
            self.received.append(request)
            await self._note()
            response = await self.script(request, socket)
            if response is None:
                return
            await socket.send(response)


async def _read_body(head: bytes, reader: asyncio.StreamReader) -> bytes:
    """The body as it stood on the wire (chunk framing included)."""
    length = re.search(rb"(?im)^content-length:[ \t]*(\d+)", head)
    if length:
        return await reader.readexactly(int(length[1]))
    if not re.search(rb"(?im)^transfer-encoding:[ \t]*chunked", head):
        return b""
    raw = b""
    while True:
        line = await reader.readuntil(b"\r\n")
        raw += line
        size = int(line.split(b";")[0], 16)
        if not size:
            break
        raw += await reader.readexactly(size + 2)
    while (line := await reader.readuntil(b"\r\n")) != b"\r\n":
        raw += line
    return raw + b"\r\n"
