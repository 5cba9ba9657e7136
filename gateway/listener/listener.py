"""All callers' sockets of one worker: who may connect, the sizes and times they get, and the drain."""

import asyncio
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Container, Coroutine
from contextlib import suppress
from typing import Any

from gateway.core.keys import client_network
from gateway.listener.connection import LAST_HEAD_S, LINGER_S, Connection
from gateway.listener.door import Door
from gateway.listener.request import Request
from gateway.listener.room import allow_open_files, room_for
from gateway.settings import Bounds
from gateway.waiting import happens_within
from gateway.wire.head import BadHead, has_bare_cr_or_lf
from gateway.wire.ids import Ids
from gateway.wire.request_head import RequestHead, RequestHeadParser
from gateway.wire.request_rules import NO_METHOD, check_line
from gateway.wire.sweep import Sweeper

SWEEP_S = 0.5
BACKLOG = 4096
CUT_S = 1.0
"""What calls get to end in, when their sockets were cut: it takes them some turns of the loop."""
IPV6_PREFIX = 64  # one site: a caller has all of its addresses


class Listener:
    """Protocol factory and registry of the callers' sockets.

    handle       coroutine function that answers one request; must not raise
    on_bad_head  called for a head that is not a request: (connection, error, whether it asks for a head only); writes
                 the answer, logs the call
    """

    def __init__(
        self,
        bounds: Bounds,
        handle: Callable[[Request], Coroutine[Any, Any, None]],
        on_bad_head: Callable[[Connection, BadHead, bool], None],
        *,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._tls = tls
        self._connections: set[Connection] = set()
        self._per_ip: Counter[str] = Counter()
        self._server: asyncio.Server | None = None
        self._listening: socket.socket | None = None
        self._late: list[asyncio.Task[Any]] = []
        self._sweeper = Sweeper(self._loop, SWEEP_S)
        self._emptied: asyncio.Event | None = None
        self.accepting = True
        self.keeping_alive = True
        self.handle = handle
        self.refuse_head = on_bad_head
        self.scheme = "https" if tls else "http"
        self._parser = RequestHeadParser(self._loop, bounds.header_count)
        self.use(bounds)

    def use(self, bounds: Bounds) -> None:
        """Other bounds from now on, except on the number of fields; what is remembered of requests is forgotten."""
        self._bounds = bounds
        allow_open_files(bounds)
        self._room = room_for(bounds)
        self.header_time_s = bounds.header_time_us / 1e6
        self.body_time_s = self.send_time_s = bounds.body_time_us / 1e6
        self.idle_time_s = bounds.idle_time_us / 1e6
        self.body_bytes = bounds.body_bytes
        self._parser.forget()

    @property
    def open_sockets(self) -> int:
        """Sockets of callers now."""
        return len(self._connections)

    @property
    def listening(self) -> socket.socket | None:
        """Where callers connect; None before `start`."""
        return self._listening

    async def start(self, listening: socket.socket) -> None:
        """Accept from a bound socket, which is ours from now on. A TLS handshake may take as long as a request head."""
        self._listening = Door.taking_over(listening)
        self._server = await self._loop.create_server(
            lambda: Connection(self, self._loop), sock=self._listening, backlog=BACKLOG, **self._tls_arguments()
        )

    def _tls_arguments(self) -> dict[str, Any]:
        if self._tls is None:
            return {}
        return {"ssl": self._tls, "ssl_handshake_timeout": self.header_time_s, "ssl_shutdown_timeout": LINGER_S}

    def retire(self) -> None:
        """A drain is coming: every answer from now on says `Connection: close`, so that no socket dies idle."""
        self.keeping_alive = False

    def stop_accepting(self, answering: Container[Connection] = ()) -> None:
        """No new sockets; idle ones close after a moment, busy ones behind their answer.

        answering  those whose answers have begun
        """
        self.accepting = False
        self.retire()
        self.idle_time_s = LAST_HEAD_S
        for connection in list(self._connections):
            connection.close_idle(answering=connection in answering)
        door = self._listening
        if self._server is not None and door is not None:
            with suppress(OSError), socket.fromfd(door.fileno(), door.family, door.type) as queue:
                self._server.close()
                self._take_queued(queue)
            self._server.close()

    def _take_queued(self, queue: socket.socket) -> None:
        """Serve who has connected already: closing the listening socket would reset them. Ends with OSError."""
        queue.setblocking(False)
        for _ in range(BACKLOG):
            sock, _ = queue.accept()
            taking = self._loop.connect_accepted_socket(
                lambda: Connection(self, self._loop), sock, **self._tls_arguments()
            )
            self._late.append(self._loop.create_task(taking))

    async def wait_closed(self, grace_s: float) -> int:
        """Wait until every caller's socket is closed and tunnels are over, at most `grace_s`; cut the rest. Returns how
        many were cut."""
        await asyncio.gather(*self._late, return_exceptions=True)
        if self._connections:
            self._emptied = asyncio.Event()
            await happens_within(self._emptied, grace_s)
        left = list(self._connections)
        for connection in left:
            connection.abort()
        if self._emptied is not None:
            await happens_within(self._emptied, CUT_S)
        self._sweeper.close()
        return len(left)

    def opened(self, connection: Connection) -> bool:
        """Register a new socket; False when there is no room for it."""
        self._connections.add(connection)
        place = _place(connection)
        self._per_ip[place] += 1
        self._sweeper.add(connection)
        per_ip = self._bounds.sockets_per_ip
        return len(self._connections) <= self._room and (per_ip is None or self._per_ip[place] <= per_ip)

    def closed(self, connection: Connection) -> None:
        """Forget a socket. Idempotent."""
        if connection not in self._connections:
            return
        self._connections.remove(connection)
        self._sweeper.remove(connection)
        if self._emptied is not None and not self._connections:
            self._emptied.set()
        place = _place(connection)
        self._per_ip[place] -= 1
        if self._per_ip[place] <= 0:
            del self._per_ip[place]

    def read_head(self, buffer: bytes) -> tuple[RequestHead, Ids, bytes] | None:
        """The head at the front of `buffer` and what lies behind it; None while it is unfinished. Raises BadHead."""
        end = buffer.find(b"\r\n\r\n")
        if end < 0:
            self._check_partial_head(buffer)
            return None
        if end > self._bounds.header_bytes or buffer.find(b"\r\n") > self._bounds.target_bytes:
            self._refuse_size(buffer)
        if len(buffer) == end + 4:
            return *self._parser.read(buffer), b""
        return *self._parser.read(buffer[: end + 4]), buffer[end + 4 :]

    def _check_partial_head(self, buffer: bytes) -> None:
        """Raise BadHead as soon as an unfinished head cannot become a good one."""
        if len(buffer) > self._bounds.header_bytes:
            self._refuse_size(buffer)
        line_end = buffer.find(b"\r\n")
        if (len(buffer) if line_end < 0 else line_end) > self._bounds.target_bytes:
            self._refuse_size(buffer)
        if has_bare_cr_or_lf(buffer):
            raise BadHead(400, "bare CR or LF in the request head")
        if line_end >= 0:
            check_line(buffer)
        elif buffer and NO_METHOD.match(buffer):
            raise BadHead(400, "not HTTP")

    def _refuse_size(self, buffer: bytes) -> None:
        line_end = buffer.find(b"\r\n")
        if (len(buffer) if line_end < 0 else line_end) > self._bounds.target_bytes:
            raise BadHead(414, "the request target is too long")
        raise BadHead(431, "the header fields are too large")


def _place(connection: Connection) -> str:
    """What `sockets_per_ip` counts by."""
    return client_network(connection.peer_ip, IPV6_PREFIX) if ":" in connection.peer_ip else connection.peer_ip
