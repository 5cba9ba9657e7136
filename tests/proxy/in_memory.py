"""The whole gateway between two ends in memory: real connections, calls, pool and exchanges, without sockets.

The far end is an independent strict parser (h11): it reads what is forwarded, and answers each request with the digest
of the bytes it read, so that an answer tells which request it belongs to.
"""

import asyncio
import hashlib
from pathlib import Path

import h11

from gateway import policy
from gateway.build import build_gateway, build_listener
from gateway.core.upstream import Upstream
from gateway.listener.connection import Connection
from gateway.record import CallRecord
from gateway.settings import Settings
from gateway.store.local.store import LocalStore
from gateway.upstream.directory import Ready
from gateway.upstream.exchange import Exchange
from gateway.upstream.pool import Pool
from gateway.wire.response_head import ResponseHeadParser
from tests.fakes.waiting import eventually, turns
from tests.proxy.memory_socket import MemoryTransport

POLICY = """
version: 1
upstreams: {up: {url: "http://up.invalid"}}
routes: [{name: all, match: {path_prefix: /}, upstream: up}]
"""
GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n"


def digest(request: bytes) -> bytes:
    return hashlib.blake2b(request, digest_size=8).hexdigest().encode()


class FarEnd(MemoryTransport):
    """Our side of a socket to the upstream; what is written is parsed, and each complete request answered."""

    def __init__(self, exchange: Exchange, far: "Far") -> None:
        super().__init__()
        self.exchange = exchange
        self._far = far
        self._parser = h11.Connection(h11.SERVER)
        self._request = bytearray()

    def write(self, data: bytes) -> None:
        super().write(data)
        self._request += data
        self._parser.receive_data(data)
        while (event := self._parser.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
            if isinstance(event, h11.EndOfMessage):
                self._complete()

    def _complete(self) -> None:
        left, _ = self._parser.trailing_data
        assert not left, f"more than one request in what was forwarded: {bytes(self._request)!r}"
        request = bytes(self._request)
        self._far.requests.append(request)
        self._request.clear()
        if self._parser.our_state is not h11.MUST_CLOSE:
            self._parser.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
            self._parser.send(h11.EndOfMessage())
        if self._parser.our_state is h11.DONE and self._parser.their_state is h11.DONE:
            self._parser.start_next_cycle()
        for segment in self._far.answer(request):
            self._loop().call_soon(self._deliver, segment)

    def _deliver(self, segment: bytes) -> None:
        if not self.closed:
            self.exchange.data_received(segment)

    def _loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._loop().call_soon(self.exchange.connection_lost, None)

    abort = close


class Far:
    """The upstream: every complete request in order, and what is answered to some targets (segments of bytes)."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.scripts: dict[bytes, list[bytes]] = {}

    def answer(self, request: bytes) -> list[bytes]:
        return self.scripts.get(request.split(b" ", 2)[1]) or [GOOD + digest(request)]


class MemoryPool(Pool):
    """Opens sockets to a `Far`."""

    far: Far

    async def open(self) -> Exchange:
        exchange = Exchange(self, self._loop)
        self._busy.add(exchange)
        exchange.connection_made(FarEnd(exchange, self.far))
        self._sweeper.add(exchange)
        return exchange


class NearEnd(MemoryTransport):
    """A caller's socket as the gateway sees it."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self._connection = connection

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            asyncio.get_running_loop().call_soon(self._connection.connection_lost, None)

    abort = close


class Proxy:
    """A gateway in memory. Needs a running loop."""

    def __init__(self, folder: Path) -> None:
        file = folder / "policy.yaml"
        file.write_text(POLICY)
        self.records: list[CallRecord] = []
        self.crashes: list[BaseException] = []
        self.gateway = build_gateway(Settings(name="gw-fuzz"), policy.load([file]), LocalStore(), self)
        self.gateway.on_crash = lambda crash, _record: self.crashes.append(crash)
        self.far = Far()
        upstream = self.gateway.policies.upstreams["up"]
        self.pool = self._pool(upstream)
        self.gateway.upstreams.use(
            Ready({upstream: self.pool}, {"up": self.pool}, {id(upstream): (upstream, self.pool)})
        )
        self.listener = build_listener(self.gateway)

    def _pool(self, upstream: Upstream) -> MemoryPool:
        pool = MemoryPool(upstream, ResponseHeadParser(asyncio.get_running_loop()))
        pool.far = self.far
        return pool

    def emit(self, record: CallRecord) -> None:
        self.records.append(record)

    async def say(self, segments: list[bytes]) -> NearEnd:
        """One caller's whole conversation; it leaves when nothing happens any more. Its transport tells what it got."""
        connection = Connection(self.listener, asyncio.get_running_loop())
        near = NearEnd(connection)
        connection.connection_made(near)
        for segment in segments:
            if not near.closed and near.reading:
                connection.data_received(segment)
            await turns()
        await self._quiet(connection, near)
        if not near.closed:
            near.close()
        await eventually(lambda: connection.transport is None and connection._run is None)
        return near

    async def _quiet(self, connection: Connection, near: NearEnd) -> None:
        """Until the gateway has nothing left to do for this caller that does not need the caller."""
        still = 0
        before = (-1, False)
        while still < 12 and not near.closed:
            now = (len(near.written), connection._run is not None)
            still = still + 1 if now == before else 0
            before = now
            await turns()

    def close(self) -> None:
        self.pool.close()
        self.listener._sweeper.close()
        self.gateway.leases.close()
