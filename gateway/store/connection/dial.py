"""Opens connections to the server: the one that the URL names, or that the Sentinels name."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError, ResponseError

from gateway.core.store_url import StoreUrl
from gateway.names import KnownNames
from gateway.store import StoreDown
from gateway.store.connection import transports
from gateway.store.connection.faults import in_words, shortened
from gateway.store.connection.names import Names
from gateway.store.connection.sentinels import Sentinels
from gateway.store.connection.transports import forget, hand_over, to_server

TLS_FILES = frozenset({"ssl_ca_certs", "ssl_certfile", "ssl_keyfile"})
"""Options of the URL that name a file."""

_HUNG_UP = ("Connection closed by server", "Connection reset by peer")
"""As redis-py says it, and as the system does."""
_WITH_TLS = "a URL that begins with rediss"


class Dialer:
    """Connects to one server, or to whichever server the Sentinels name. One connection at a time.

    known  where names have led last, for when DNS is away
    """

    def __init__(self, url: StoreUrl, known: KnownNames | None = None) -> None:
        self._url = url
        self._names = Names(known or KnownNames())
        self._sentinels = Sentinels(url, self._names) if url.service else None
        self._connection: AbstractConnection | None = None

    def watch(self, on_replaced: Callable[[str], None]) -> None:
        """From now on, `on_replaced` is told why the server that is connected has to be left: a primary that is
        replaced while it lives takes writes for seconds. Needs the running loop."""
        if self._sentinels is not None:
            self._sentinels.watch(on_replaced)

    async def settled(self) -> None:
        """Until it is worth dialling: while a primary is being replaced, nobody is the primary."""
        if self._sentinels is not None:
            await self._sentinels.settled()

    async def connect(self, protocol: asyncio.Protocol) -> None:
        """Open a connection and make `protocol` its owner. The previous one must be closed or aborted by now.

        Raises StoreDown("connect"): refused, unreachable, wrong credentials, no primary, or no answer within
        DIAL_TIMEOUT_S. The text names the address, never credentials.
        """
        try:
            async with asyncio.timeout(transports.DIAL_TIMEOUT_S):
                await self.forget()
                address = await self._sentinels.primary() if self._sentinels is not None else None
                self._connection = to_server(self._url, address)
                await self._names.connect(self._connection)
                await hand_over(self._connection, protocol)
        except TimeoutError:
            await self.forget()
            raise StoreDown("connect", self._too_slow) from None
        except (RedisError, OSError) as error:
            await self.forget()
            raise StoreDown("connect", _why(self._url, error)) from None

    @property
    def _too_slow(self) -> str:
        hint = ", does it speak TLS?" if self._url.tls is not None else ""
        return f"no answer within {transports.DIAL_TIMEOUT_S:g} s{hint}"

    async def forget(self) -> None:
        """Close what redis-py still holds, at once."""
        await forget(self._connection)

    async def close(self) -> None:
        """Release the connection and those to the Sentinels. Close the protocol's transport first."""
        await self.forget()
        if self._sentinels is not None:
            await self._sentinels.close()
        self._names.close()


async def ask_once(url: StoreUrl, *command: str, address: transports.Address | None, names: Names) -> Any:
    """The answer of one server to one command, over a connection of its own. `address` as for `to_server`.

    Raises StoreDown as `Dialer.connect` does, and for an error reply.
    """
    connection = to_server(url, address)
    try:
        async with asyncio.timeout(transports.DIAL_TIMEOUT_S):
            await names.connect(connection)
            await connection.send_command(*command)
            return await connection.read_response()
    except TimeoutError:
        raise StoreDown("connect", f"no answer within {transports.DIAL_TIMEOUT_S:g} s") from None
    except (RedisError, OSError) as error:
        raise StoreDown("connect", _why(url, error)) from None
    finally:
        await forget(connection)


def _why(url: StoreUrl, error: Exception) -> str:
    """What went wrong, in words. Of a file that cannot be read the `ssl` module does not say which, and redis-py takes
    it for an answer to its connecting."""
    for option, path in (url.tls or {}).items():
        if option in TLS_FILES:
            try:
                Path(str(path)).open("rb").close()
            except OSError as unreadable:
                return f"{option} {path}: {unreadable.strerror}"
    said = in_words(shortened(str(error)) if isinstance(error, ResponseError) else str(error)) or type(error).__name__
    return f"{said.rstrip('.')}, does it want TLS ({_WITH_TLS})?" if _wants_tls(url, said) else said


def _wants_tls(url: StoreUrl, said: str) -> bool:
    """Perhaps: on a first command without it, such a server hangs up."""
    return url.tls is None and bool(url.hosts) and any(words in said for words in _HUNG_UP)
