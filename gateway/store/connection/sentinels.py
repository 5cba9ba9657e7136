"""Who the primary is: the Sentinels are asked for it, and heard when they replace it.

In a failover that Sentinels are asked for the old primary lives, and goes on taking writes that are lost with it. So
they are listened to, all of them, for only the one that leads a failover tells of its steps: about 100 ms before it
promotes a replica the old primary is left, and no server decides until another one is named.

What is said while a connection to a Sentinel is lost is not heard: so they are asked once a second, too.
"""

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import hiredis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError

from gateway.core.store_url import StoreUrl
from gateway.lasting import lasting
from gateway.store import StoreDown
from gateway.store.connection import transports
from gateway.store.connection.faults import in_words
from gateway.store.connection.link import pack
from gateway.store.connection.names import Names
from gateway.store.connection.transports import Address, forget, hand_over, to_sentinel
from gateway.waiting import end, happens_within

WATCH_S = 1.0
"""Between two looks at who is the primary when nothing is heard."""
REPLACED_WITHIN_S = 3.0
"""They look once a second whether the replica that they promote has become a primary. When it takes longer than this,
whoever they name is to be asked, whatever they said."""
LISTEN_AGAIN_S = 1.0

PROMOTING = "+failover-state-send-slaveof-noone"
GIVEN_UP = "-failover-abort-"
_SUBSCRIBE = pack(("PSUBSCRIBE", PROMOTING, "+promoted-slave", "+switch-master", GIVEN_UP + "*"))
_INCOMPLETE = object()

Heard = Callable[[str, str], None]
"""(channel, message)"""


class Sentinels:
    """The Sentinels of one URL, as one worker asks and hears them."""

    def __init__(self, url: StoreUrl, names: Names) -> None:
        self._url = url
        self._names = names
        self._asked = [(address, to_sentinel(url, address)) for address in url.hosts]
        self._one_by_one = asyncio.Lock()
        self._named: Address | None = None
        self._settled = asyncio.Event()
        self._settled.set()
        self._news = asyncio.Event()
        self._on_replaced: Callable[[str], None] = lambda _: None
        self._tasks: list[asyncio.Task[None]] = []

    def watch(self, on_replaced: Callable[[str], None]) -> None:
        """Begin to listen. `on_replaced` is told why the server that `primary` named last has to be left."""
        self._on_replaced = on_replaced
        self._tasks = [
            lasting("primary watch", self._watch),
            *(lasting("Sentinel's ear", partial(self._listen, address)) for address in self._url.hosts),
        ]

    async def close(self) -> None:
        """Idempotent."""
        tasks, self._tasks = self._tasks, []
        await asyncio.gather(*map(end, tasks))
        for _, connection in self._asked:
            await forget(connection)

    async def primary(self) -> Address:
        """Who it is. Raises StoreDown("connect") when no Sentinel says."""
        self._named = await self._ask()
        return self._named

    async def settled(self) -> None:
        """While it is being replaced: until they name another one or give up, or it takes too long."""
        await happens_within(self._settled, REPLACED_WITHIN_S)
        self._settled.set()

    # -- asking

    async def _ask(self) -> Address:
        """As the first of them says that answers; it is asked first from now on."""
        said = []
        async with self._one_by_one:
            for place, (address, connection) in enumerate(self._asked):
                try:
                    found = await self._ask_one(connection)
                except (RedisError, OSError, TimeoutError) as error:
                    said.append(f"{address[0]}:{address[1]}: {in_words(str(error)) or type(error).__name__}")
                    continue
                if found is not None:
                    self._asked[0], self._asked[place] = self._asked[place], self._asked[0]
                    return found
                said.append(f"{address[0]}:{address[1]} does not know it")
        raise StoreDown("connect", f"no Sentinel names the primary of {self._url.service!r}: {'; '.join(said)}")

    async def _ask_one(self, connection: AbstractConnection) -> Address | None:
        good = False
        try:
            async with asyncio.timeout(transports.DIAL_TIMEOUT_S / (len(self._asked) + 1)):
                await self._names.connect(connection)
                await connection.send_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._url.service)
                told: Any = await connection.read_response()
            good = True
        finally:
            if not good:  # also when cancelled: an answer that comes later would be taken for that to the next question
                await forget(connection)
        return (told[0].decode(), int(told[1])) if told else None

    async def _watch(self) -> None:
        while True:
            await happens_within(self._news, WATCH_S)
            self._news.clear()
            with suppress(StoreDown):
                if self._named is not None and await self._ask() != self._named:
                    self._settled.set()
                    self._on_replaced("the Sentinels name another primary")

    # -- hearing

    async def _listen(self, address: Address) -> None:
        """Hear one of them, for ever."""
        while True:
            connection = to_sentinel(self._url, address)
            try:
                ear = Ear(self._heard)
                async with asyncio.timeout(transports.DIAL_TIMEOUT_S):
                    await self._names.connect(connection)
                    await hand_over(connection, ear)
                await ear.closed.wait()
            except (RedisError, OSError, TimeoutError):
                pass
            finally:
                await forget(connection)
            await asyncio.sleep(random.uniform(LISTEN_AGAIN_S / 2, LISTEN_AGAIN_S))  # noqa: S311

    def _heard(self, channel: str, message: str) -> None:
        """They may watch over others, too. A replica's message ends with `@ name host port` of its primary."""
        words = message.split()
        if self._url.service not in words:
            return
        if channel == PROMOTING and words[-2:] == [str(part) for part in self._named or ()]:
            self._settled.clear()
            self._on_replaced("the Sentinels are about to promote a replica")
        elif channel.startswith(GIVEN_UP):
            self._settled.set()
        self._news.set()


class Ear(asyncio.Protocol):
    """Subscribes to what a Sentinel tells of failovers."""

    def __init__(self, heard: Heard) -> None:
        self.closed = asyncio.Event()
        self._heard = heard
        self._reader = hiredis.Reader(encoding="utf-8", errors="replace", notEnoughData=_INCOMPLETE)
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.write(_SUBSCRIBE)  # type: ignore[attr-defined]  # uvloop's is one without saying so
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        try:
            while (said := self._reader.gets()) is not _INCOMPLETE:
                if isinstance(said, list) and said[0] == "pmessage":
                    self._heard(said[2], said[3])
        except hiredis.ProtocolError:
            assert self._transport is not None, "it is connected"
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set()
