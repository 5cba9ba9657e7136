"""Whether the store would forget counters when its memory is full, instead of refusing to count any more: then more
calls pass than the limits say, and nothing else tells."""

import asyncio
import re
from collections.abc import Callable, Mapping

from redis.exceptions import RedisError

from gateway.core.store_url import StoreUrl, parse_url
from gateway.names import KnownNames
from gateway.store import StoreDown
from gateway.store.connection import transports
from gateway.store.connection.dial import ask_once
from gateway.store.connection.names import Names
from gateway.store.connection.sentinels import Sentinels
from gateway.waiting import end

LOOK_AGAIN_S = 600.0
"""It can be changed while the server runs."""
_SAID = re.compile(rb"^(maxmemory|maxmemory_policy):(\S+)\r?$", re.MULTILINE)


class Eviction:
    """Looks whenever it is asked to, and every LOOK_AGAIN_S from then on; one look at a time.

    url   of the store; "" = it is no business of ours
    tell  told `maxmemory_policy`, each once
    """

    def __init__(self, url: str, tell: Callable[[Mapping[str, object]], None]) -> None:
        self._url = parse_url(url) if url else None
        self._tell = tell
        self._told: set[str] = set()
        self._looking: asyncio.Task[None] | None = None
        self._again: asyncio.TimerHandle | None = None

    def look(self) -> None:
        """The store is there, for the first time or again: it may be another server."""
        if self._url is not None and (self._looking is None or self._looking.done()):
            self._look_no_more()
            self._again = asyncio.get_running_loop().call_later(LOOK_AGAIN_S, self.look)
            self._looking = asyncio.create_task(self._look(self._url), name="eviction of the store")

    async def close(self) -> None:
        """Look no more. Idempotent."""
        self._look_no_more()
        await end(self._looking)

    def _look_no_more(self) -> None:
        if self._again is not None:
            self._again.cancel()

    async def _look(self, url: StoreUrl) -> None:
        policy = await evicting(url)
        if policy and policy not in self._told:
            self._told.add(policy)
            self._tell({"maxmemory_policy": policy})


async def evicting(url: StoreUrl) -> str:
    """The `maxmemory-policy` of a server that would forget; "" = it would not, or nobody says.

    Of a Redis Cluster that of the first server which answers: they are set up alike.
    """
    names = Names(KnownNames())
    for host in url.hosts if url.cluster else (None,):
        try:
            address = await _primary(url, names) if url.service else host
            said = dict(_SAID.findall(await ask_once(url, "INFO", "memory", address=address, names=names)))
        except (StoreDown, RedisError, OSError, TypeError):  # away, without the right, or another kind of server
            continue
        policy = said.get(b"maxmemory_policy", b"noeviction").decode()
        return policy if said.get(b"maxmemory", b"0") != b"0" and policy != "noeviction" else ""
    return ""


async def _primary(url: StoreUrl, names: Names) -> tuple[str, int]:
    sentinels = Sentinels(url, names)
    try:
        async with asyncio.timeout(transports.DIAL_TIMEOUT_S):
            return await sentinels.primary()
    finally:
        await sentinels.close()
