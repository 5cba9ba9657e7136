"""An upstream that only keeps a ledger: which target came when. Cheap enough for hundreds of calls a second."""

import asyncio
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class _Entry(asyncio.Protocol):
    """One connection: GETs without bodies, each answered at once."""

    def __init__(self, ledger: "Ledger") -> None:
        self._ledger = ledger
        self._got = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._ledger.transports.add(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        assert self._transport is not None
        self._ledger.transports.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        self._got += data
        while b"\r\n\r\n" in self._got:
            head, _, self._got = self._got.partition(b"\r\n\r\n")
            self._ledger.enter(head.split(b" ", 2)[1].decode("latin-1"))
            if self._ledger.delay_s:
                asyncio.get_running_loop().call_later(self._ledger.delay_s, self._transport.write, _OK)
            else:
                self._transport.write(_OK)


@dataclass
class Ledger:
    """Use as an async context manager. `arrivals`: each target with the times at which it came, by the event loop.

    delay_s  how much later calls are answered
    """

    arrivals: dict[str, list[float]] = field(default_factory=dict)
    transports: set[asyncio.Transport] = field(default_factory=set)
    port: int = 0
    delay_s: float = 0.0
    _server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Entry(self), "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for transport in list(self.transports):
            transport.abort()

    def enter(self, target: str) -> None:
        """For its connections: this one came."""
        self.arrivals.setdefault(target, []).append(asyncio.get_running_loop().time())

    def count(self, prefix: str) -> int:
        """How many calls came whose target begins so."""
        return sum(len(times) for target, times in self.arrivals.items() if target.startswith(prefix))

    def times(self, prefix: str) -> list[float]:
        """When they came, in order."""
        return sorted(at for target, times in self.arrivals.items() if target.startswith(prefix) for at in times)
