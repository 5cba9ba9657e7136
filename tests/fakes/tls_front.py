"""TLS ends in front of servers: not every build of a server has TLS of its own."""

import asyncio
import ssl
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Self

import trustme


class TlsFronts:
    """Use as an async context manager. Its certificates are good for 127.0.0.1 and signed by `ca`.

    opened  how many connections there have been
    """

    def __init__(self, ca: trustme.CA) -> None:
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        ca.issue_cert("127.0.0.1").configure_cert(self._context)
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []
        self.opened = 0

    async def open(self, port: int, *, tells: Mapping[int, int] | None = None, at: int = 0) -> int:
        """A port that is this one of 127.0.0.1 over TLS.

        tells  ports that the server names, and those to name instead; all have as many digits
        at     the port to use; 0 = any
        """
        renamed = {str(before).encode(): str(after).encode() for before, after in (tells or {}).items()}

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.opened += 1
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
            self._writers += [writer, inner_writer]
            self._pump(reader, inner_writer, {})
            self._pump(inner_reader, writer, renamed)

        server = await asyncio.start_server(serve, "127.0.0.1", at, ssl=self._context)
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, renamed: Mapping[bytes, bytes]) -> None:
        task = asyncio.create_task(_copy(reader, writer, renamed))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def cut(self) -> None:
        """Every connection is lost."""
        for writer in self._writers:
            writer.transport.abort()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in self._servers:
            server.close()
        self.cut()
        if self._tasks:
            await asyncio.wait(self._tasks)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, renamed: Mapping[bytes, bytes]) -> None:
    with suppress(OSError, ssl.SSLError):
        while data := await reader.read(65_536):
            for before, after in renamed.items():
                data = data.replace(before, after)
            writer.write(data)
        writer.close()
