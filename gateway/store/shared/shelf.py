"""What workers of all gateways keep for each other, sealed: see `lua/token.lua`."""

from typing import Any, NamedTuple

from gateway.core.keys import encode_part
from gateway.store import Store, StoreDown
from gateway.store.connection.link import Argument
from gateway.store.open import Scripted
from gateway.store.scripts.sources import load_script

TOKEN = load_script("token", "clock", "token")
TOKEN_ARGV = ("op", "now_us", "owner", "version", "for_us", "sealed", "keep_us")
TOKEN_REPLY = ("version", "left_us", "sealed", "mine", "holder", "held_us")
FAILED = "!"
SERVER_CLOCK = 0


class Found(NamedTuple):
    """The script's reply."""

    version: int
    left_us: int
    sealed: bytes
    mine: bool
    holder: str
    held_us: int


class Shelf:
    """Over the links of the store. Every method gives None when the store does not answer, or is this process alone."""

    def __init__(self, store: Store) -> None:
        self._store = store if isinstance(store, Scripted) else None

    @property
    def shared(self) -> bool:
        """Whether others can get at what is kept."""
        return self._store is not None

    async def look(self, name: str) -> Found | None:
        """What is kept, and who holds the lease."""
        return await self._run(name, "look", "", 0, 0, "", 0)

    async def take(self, name: str, owner: str, version: int, lease_us: int, marks: str = "") -> Found | None:
        """What is kept if it is newer than `version`, else the lease, if nobody else holds it: from now on for so long.

        marks  a failure whose reason ends with ` #` and a mark that is none of these is no reason not to try
        """
        return await self._run(name, "take", owner, version, lease_us, marks, 0)

    async def put(self, name: str, owner: str, version: int, sealed: bytes, life_us: int, keep_us: int) -> Found | None:
        """Keep this from now on, and give the lease back; unless there is something newer than `version`, or another
        holds the lease. `mine`: it is kept."""
        return await self._run(name, "put", owner, version, life_us, sealed, keep_us)

    async def fail(self, name: str, owner: str, version: int, reason: str, for_us: int) -> Found | None:
        """Nobody need try again for so long; but see `put`."""
        return await self._run(name, "fail", owner, version, for_us, FAILED + reason, 0)

    async def _run(self, name: str, op: str, *more: Argument) -> Found | None:
        if self._store is None:
            return None
        base = f"{self._store.key_prefix}token:{{{encode_part(name)}}}:"
        try:
            return await self._store.run(TOKEN, [2, f"{base}kept", f"{base}lease", op, SERVER_CLOCK, *more], _decode)  # type: ignore[no-any-return]
        except StoreDown:
            return None


def _decode(reply: Any, _context: object) -> Found:
    version, left_us, sealed, mine, holder, held_us = reply
    return Found(version, left_us, sealed, bool(mine), holder.decode(), held_us)
