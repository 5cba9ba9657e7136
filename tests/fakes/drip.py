"""An upstream whose answers take their time: numbered lines, one after the other; and callers that read them to the end."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from tests.fakes.waiting import pause

EVERY_S = 0.1


def _lines(count: int) -> list[bytes]:
    return [b"line %d\n" % number for number in range(count)]


@dataclass
class Drip:
    """Use as an async context manager: `GET /anything/50` is answered with 50 lines, chunked, ten of them a second."""

    port: int = 0
    _server: asyncio.Server | None = None
    _open: set[asyncio.StreamWriter] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._open:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                count = int(head.split(b" ", 2)[1].rpartition(b"/")[2])
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n")
                for line in _lines(count):
                    writer.write(b"%x\r\n%b\r\n" % (len(line), line))
                    await writer.drain()
                    await pause(EVERY_S, "a stream takes time")
                writer.write(b"0\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._open.discard(writer)
            writer.close()


async def read_stream(port: int, path: str, count: int) -> str:
    """One call on a connection of its own; `whole`, or what is wrong with the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"GET {path}/{count} HTTP/1.1\r\nHost: api.example\r\nConnection: close\r\n\r\n".encode())
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    except ConnectionError as error:
        return repr(error)
    finally:
        writer.close()
    if not head.startswith(b"HTTP/1.1 200 "):
        return head.partition(b"\r\n")[0].decode()
    text, whole = _unchunked(body)
    return "whole" if whole and text == b"".join(_lines(count)) else f"cut after {len(text)} bytes"


def _unchunked(body: bytes) -> tuple[bytes, bool]:
    """The content (RFC 9112 §7.1), and whether it has an end."""
    text = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size, 16)
        if not length:
            return text, body == b"\r\n"
        text, body = text + body[:length], body[length + 2 :]
    return text, False


async def stream_until(over: asyncio.Event, port: int, path: str, count: int, seen: Counter[str]) -> None:
    """Streams one after the other; what became of each. The last one is read to its end."""
    while not over.is_set():
        seen[await read_stream(port, path, count)] += 1
