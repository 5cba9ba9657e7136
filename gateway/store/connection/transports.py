"""Connections that redis-py sets up and a protocol of ours takes over.

redis-py does what is tedious and dangerous to repeat: TLS contexts, AUTH with ACL users, HELLO and SELECT. After its
handshake nothing is in flight, so the transport can be given to another `asyncio.Protocol`: `Transport.set_protocol` is
public in asyncio, and uvloop implements it alike, also under TLS.

What is taken from redis-py beyond its documented interface, all of it here and guarded by
`tests/store/connection/test_dial.py`: `Connection._writer`, whose `transport` is the thing to take over; the writer
closes its transport when it is collected, so the connection object is kept as long as the transport is in use. Also
`Connection._connection_arguments`, those of `asyncio.open_connection`: the address of a name that DNS does not know.
And `Connection._parser` with `on_connect_check_health`: what a server says before redis-py hears it.
"""

import asyncio
from collections.abc import Mapping
from functools import cache
from typing import Any

from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.driver_info import DriverInfo
from redis.exceptions import BusyLoadingError, RedisError, ResponseError

from gateway import __version__
from gateway.core.store_url import StoreUrl

DIAL_TIMEOUT_S = 1.0

Address = tuple[str, int]
"""(host, port)"""


class _Named(AbstractConnection):
    """at  the address to connect to in place of what DNS says, if any"""

    at = ""

    async def on_connect_check_health(self, check_health: bool = True) -> None:
        await _hear_denial(self)
        await super().on_connect_check_health(check_health)


class ToName(_Named, Connection):
    """To a server by its name."""

    def _connection_arguments(self) -> Mapping[str, Any]:
        given = super()._connection_arguments()
        return {**given, "host": self.at} if self.at else given


class ToNameOverTls(_Named, SSLConnection):
    """As `ToName`: the certificate has to say the name all the same."""

    def _connection_arguments(self) -> Mapping[str, Any]:
        given = super()._connection_arguments()
        return {**given, "host": self.at, "server_hostname": self.host} if self.at else given


TO_NAMES = (ToName, ToNameOverTls)


async def _hear_denial(connection: AbstractConnection) -> None:
    """A server in protected mode says so and hangs up. Where no login comes first, redis-py passes over that."""
    if connection.password is not None or connection.protocol == 3:
        return
    connection._parser.on_connect(connection)  # type: ignore[no-untyped-call]
    await connection.send_command("PING", check_health=False)
    try:
        await connection.read_response(disconnect_on_error=False)
    except (ResponseError, BusyLoadingError) as said:  # who is busy, for one, may be connected to
        if str(said).startswith("DENIED"):
            raise
    await _check_silent(connection)


async def _check_silent(connection: AbstractConnection) -> None:
    """What it says too much would be taken for its next reply. Raises RedisError."""
    if await connection.can_read():
        raise RedisError("the server sent something that was not asked for")


def to_server(url: StoreUrl, address: Address | None) -> AbstractConnection:
    """Unconnected: to this server, else to the URL's socket, else to its first host."""
    about = {
        "db": url.db,
        "username": url.username,
        "password": url.password,
        "protocol": url.resp,
        "driver_info": _who_we_are(),
        **_patience(DIAL_TIMEOUT_S),
        **(url.tls or {}),
    }
    if url.path:
        return UnixDomainSocketConnection(path=url.path, **about)
    host, port = address or url.hosts[0]
    return (ToName if url.tls is None else ToNameOverTls)(host=host, port=port, **about)


def to_sentinel(url: StoreUrl, address: Address) -> AbstractConnection:
    """Unconnected: to this Sentinel. Each gets a part of the time to connect, so that a dead one does not hide the
    others. TCP's own keepalive, which redis-py sets, notices one that vanished although nothing is ever sent to it."""
    about = {
        "username": url.sentinel_username,
        "password": url.sentinel_password,
        "protocol": 2,
        "driver_info": _who_we_are(),
        **_patience(DIAL_TIMEOUT_S / (len(url.hosts) + 1)),
        **(url.tls or {}),
    }
    host, port = address
    return (ToName if url.tls is None else ToNameOverTls)(host=host, port=port, **about)


@cache
def _who_we_are() -> DriverInfo:
    """What servers of 7.2 show of us in `CLIENT LIST`. Each new one would look up redis-py's version on the disk."""
    return DriverInfo().add_upstream_driver("ratelimit-gateway", __version__)


def _patience(patience_s: float) -> dict[str, Any]:
    return {
        "socket_timeout": patience_s,
        "socket_connect_timeout": patience_s,
        "retry": Retry(NoBackoff(), 0),
    }


async def hand_over(connection: AbstractConnection, protocol: asyncio.Protocol) -> None:
    """Make `protocol` the owner of the transport of a connected one. Raises RedisError or OSError."""
    await _check_silent(connection)
    writer = connection._writer
    assert writer is not None, "redis-py says it is connected"
    writer.transport.set_protocol(protocol)
    protocol.connection_made(writer.transport)


async def forget(connection: AbstractConnection | None) -> None:
    """Close what redis-py holds, at once."""
    if connection is not None:
        await connection.disconnect(nowait=True)
