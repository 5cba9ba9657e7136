"""Connects to servers by their names; while DNS is away, to where a name led last.

DNS is asked first, each time: a server that stands in for another one is found by it. Only where DNS fails, or says
nothing for a while, is the address known from before asked.
"""

import asyncio
import socket
from typing import Any

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError

from gateway.names import AddrInfo, KnownNames
from gateway.store.connection.transports import TO_NAMES

DNS_PART = 0.5
"""Of the time to connect: for so long DNS may say nothing where an address is known."""

Asked = asyncio.Task[Any]


class Names:
    """One question to DNS for each name at a time. `known` is shared with others."""

    def __init__(self, known: KnownNames) -> None:
        self._known = known
        self._asking: dict[tuple[str, int], Asked] = {}

    async def connect(self, connection: AbstractConnection) -> None:
        """Connect it, unless it is. Raises RedisError or OSError."""
        if connection.is_connected or not isinstance(connection, TO_NAMES):
            await connection.connect()  # type: ignore[no-untyped-call]
            return
        host, port = connection.host, connection.port
        known = self._known.of(host, port).found
        away = bool(known) and await self._is_away(host, port, DNS_PART * (connection.socket_connect_timeout or 0))
        connection.at = known[0][4][0] if away else ""
        try:
            await connection.connect()  # type: ignore[no-untyped-call]
        except (RedisError, OSError) as error:
            if not away:
                raise
            why = str(error) or type(error).__name__
            raise RedisError(f"DNS does not say where {host} is; where it was, at {connection.at}: {why}") from None
        if not away:
            now_s = asyncio.get_running_loop().time()
            self._known.note(host, port, [_led_to(connection)], now_s, lasting=True)

    async def _is_away(self, host: str, port: int, patience_s: float) -> bool:
        """An answer that took too long counts for who asks next."""
        asked = self._asking.get((host, port))
        if asked is None:
            asking = asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
            asked = self._asking[host, port] = asyncio.create_task(asking, name="address of the store")
            asked.add_done_callback(_look_at)
        await asyncio.wait((asked,), timeout=patience_s)
        if not asked.done():
            return True
        self._asking.pop((host, port), None)
        return asked.exception() is not None

    def close(self) -> None:
        """Wait for no answer any more. Idempotent."""
        for asked in self._asking.values():
            asked.cancel()
        self._asking.clear()


def _led_to(connection: AbstractConnection) -> AddrInfo:
    writer = connection._writer
    assert writer is not None, "redis-py says it is connected"
    address = writer.get_extra_info("peername")
    return (socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_STREAM, 0, "", tuple(address))


def _look_at(asked: Asked) -> None:
    """An error that nobody waits for any more is no defect."""
    if not asked.cancelled():
        asked.exception()
