"""What the first process looks after once a second: the runtime directory, and the gateway's own store in there."""

import asyncio
from contextlib import suppress
from typing import Never

from gateway.supervisor.embedding import LOOK_EVERY_S, StorePlace
from gateway.supervisor.runtime_dir import RuntimeDir


class Upkeep:
    """Has both of them there."""

    def __init__(self, directory: RuntimeDir, store: StorePlace) -> None:
        self.directory = directory
        self._store = store

    def look(self) -> bool:
        """Mend what is to be mended. Whether the store runs, if it is ours."""
        runs = self._mend()
        self._tell()
        return runs

    async def go_on(self) -> Never:
        """Look from a worker's event loop, for ever."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            with suppress(RuntimeError):  # there is no thread to be had right now
                await asyncio.to_thread(self._mend)
            self._tell()

    def _mend(self) -> bool:
        """First the directory: a server cannot begin without, nor be asked in one that somebody else has put there."""
        self.directory.look()
        own = self._store.own
        return own is None or (own.mend() if self.directory.ours else own.alive)

    def _tell(self) -> None:
        self.directory.tell()
        if self._store.own is not None:
            self._store.own.tell()
