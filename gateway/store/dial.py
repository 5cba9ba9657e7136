"""Opens connections to the server: redis-py sets them up, then a protocol of ours takes the transport over.

redis-py does what is tedious and dangerous to repeat: TLS contexts, AUTH with ACL users, HELLO, SELECT, and asking the
Sentinels who the primary is. After its handshake nothing is in flight, so the transport can be given to another
`asyncio.Protocol`: `Transport.set_protocol` is public in asyncio, and uvloop implements it alike, also under TLS.

What is taken from redis-py beyond its documented interface, all of it here and guarded by
`tests/store/test_dial.py`: `Connection._writer`, whose `transport` is the thing to take over. The writer closes its
transport when it is collected, so the connection object is kept as long as the transport is in use.
"""

import asyncio
from typing import Any

from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.driver_info import DriverInfo
from redis.exceptions import RedisError

from gateway import __version__
from gateway.core.store_url import StoreUrl
from gateway.store import StoreDown

DIAL_TIMEOUT_S = 1.0


class Dialer:
    """Connects to one server, or to whichever server the Sentinels name. One connection at a time."""

    def __init__(self, url: StoreUrl) -> None:
        self._service = url.service
        self._slow = f"no answer within {DIAL_TIMEOUT_S:g} s" + (", does it speak TLS?" if url.tls is not None else "")
        self._sentinel = _sentinel(url) if url.service else None
        if self._sentinel is None:
            self._connection = _direct(url)
        else:
            self._pool = SentinelConnectionPool(url.service, self._sentinel, ssl=url.tls is not None, **_common(url))  # type: ignore[no-untyped-call]
            self._connection = self._pool.make_connection()  # type: ignore[no-untyped-call]

    @property
    def watches(self) -> bool:
        """Whether `changed` is worth asking."""
        return self._sentinel is not None

    async def connect(self, protocol: asyncio.Protocol) -> None:
        """Open a connection and make `protocol` its owner. The previous one must be closed or aborted by now.

        Raises StoreDown("connect"): refused, unreachable, wrong credentials, no primary, or no answer within
        DIAL_TIMEOUT_S. The text names the address, never credentials.
        """
        try:
            async with asyncio.timeout(DIAL_TIMEOUT_S):
                await self._connection.disconnect(nowait=True)
                await self._connection.connect()  # type: ignore[no-untyped-call]
                if await self._connection.can_read():
                    raise RedisError("the server sent something that was not asked for")
        except TimeoutError:
            await self.forget()
            raise StoreDown("connect", self._slow) from None
        except (RedisError, OSError) as error:
            await self.forget()
            raise StoreDown("connect", str(error) or type(error).__name__) from None
        writer = self._connection._writer
        assert writer is not None, "redis-py says it is connected"
        writer.transport.set_protocol(protocol)
        protocol.connection_made(writer.transport)

    async def changed(self) -> bool:
        """Whether the Sentinels name another primary by now than the one that is connected; a primary that was
        replaced while it lives takes writes for seconds. False without Sentinels, and when they say nothing."""
        if self._sentinel is None:
            return False
        try:
            async with asyncio.timeout(DIAL_TIMEOUT_S):
                host, port = await self._sentinel.discover_master(self._service)
        except (RedisError, OSError, TimeoutError):
            return False
        linked: Any = self._connection
        return (host, port) != (linked.host, linked.port)

    async def forget(self) -> None:
        """Close what redis-py still holds, at once."""
        await self._connection.disconnect(nowait=True)

    async def close(self) -> None:
        """Release the connection and the Sentinel clients. Close the protocol's transport first."""
        await self.forget()
        if self._sentinel is not None:
            await self._sentinel.aclose()


async def ask_once(url: StoreUrl, *command: str) -> Any:
    """The answer of one server to one command, over a connection of its own.

    Raises StoreDown as `Dialer.connect` does, and for an error reply.
    """
    connection = _direct(url)
    try:
        async with asyncio.timeout(DIAL_TIMEOUT_S):
            await connection.connect()  # type: ignore[no-untyped-call]
            await connection.send_command(*command)
            return await connection.read_response()
    except TimeoutError:
        raise StoreDown("connect", f"no answer within {DIAL_TIMEOUT_S:g} s") from None
    except (RedisError, OSError) as error:
        raise StoreDown("connect", str(error) or type(error).__name__) from None
    finally:
        await connection.disconnect(nowait=True)


def _common(url: StoreUrl) -> dict[str, Any]:
    return {
        "db": url.db,
        "username": url.username,
        "password": url.password,
        "protocol": url.resp,
        "socket_timeout": DIAL_TIMEOUT_S,
        "socket_connect_timeout": DIAL_TIMEOUT_S,
        "retry": Retry(NoBackoff(), 0),
        "driver_info": DriverInfo().add_upstream_driver("ratelimit-gateway", __version__),
        **(url.tls or {}),
    }


def _direct(url: StoreUrl) -> AbstractConnection:
    if url.path:
        return UnixDomainSocketConnection(path=url.path, **_common(url))
    host, port = url.hosts[0]
    return (Connection if url.tls is None else SSLConnection)(host=host, port=port, **_common(url))


def _sentinel(url: StoreUrl) -> Sentinel:
    """Each Sentinel gets a part of the time to connect, so that a dead one does not hide the others."""
    patience_s = DIAL_TIMEOUT_S / (len(url.hosts) + 1)
    return Sentinel(  # type: ignore[no-untyped-call]
        url.hosts,
        sentinel_kwargs={
            "username": url.sentinel_username,
            "password": url.sentinel_password,
            "socket_timeout": patience_s,
            "socket_connect_timeout": patience_s,
            "retry": Retry(NoBackoff(), 0),
            "ssl": url.tls is not None,
            **(url.tls or {}),
        },
    )
