"""What a store on servers is asked about single keys, and ordered, by operators: the same for one server and many."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Sequence
from typing import Any

from gateway.core.decision import Kept, check_distinct
from gateway.core.grant import Grant
from gateway.core.guards import Guard
from gateway.core.limits import Charge
from gateway.store import Grants
from gateway.store.connection.link import Argument, Decode
from gateway.store.scripts.grants import GRANTED, in_force, noted
from gateway.store.scripts.guards import LIST, unpack_kept
from gateway.store.scripts.limits import encode_grant, unpack_grant
from gateway.store.scripts.sources import GRANT, Script

MOST_LISTED = 10_000


class Operated(ABC):
    """The part of a `Store` that nobody is in a hurry for. Everything here may raise StoreDown.

    now_us  0 = the servers' clocks; anything else is for tests
    """

    now_us: int

    def __init__(self, key_prefix: str) -> None:
        self._prefix = key_prefix

    @property
    def key_prefix(self) -> str:
        """What every key begins with."""
        return self._prefix

    @abstractmethod
    def run(
        self, script: Script, arguments: Sequence[Argument], decode: Decode | None = None, context: Any = None
    ) -> Awaitable[Any]:
        """Run a script whose keys are all in one slot, and not about a call. Its answer is decode(reply, context)."""

    @abstractmethod
    def _ask_about(self, key: str, command: str, *arguments: Argument) -> Awaitable[Any]:
        """What the server answers to a command about this key, which has no prefix yet."""

    @abstractmethod
    async def _kept(self, keys: Sequence[str]) -> tuple[int, Sequence[bytes | None]]:
        """The clock that decides about the first of these keys, and what is kept under each; they have no prefix."""

    async def reset(self, charge: Charge) -> bool:
        return await self._grant(charge, None, 0, "reset")

    async def grant(self, charge: Charge, grant: Grant | None, for_us: int = 0) -> bool:
        existed = await self._grant(charge, grant, for_us)
        for command, *arguments in noted(charge.key, given=grant is not None):
            await self._ask_about(GRANTED, command, *arguments)
        return existed

    async def _grant(self, charge: Charge, grant: Grant | None, for_us: int, op: str = "grant") -> bool:
        arguments = encode_grant(charge, grant, for_us, self._prefix, op=op, now_us=self.now_us)
        (existed,) = await self.run(GRANT, arguments)
        return bool(existed)

    async def granted(self, charge: Charge) -> tuple[int, Grant | None]:
        now_us, (packed,) = await self._kept([charge.key])
        return now_us, unpack_grant(packed, now_us)

    async def grants(self) -> tuple[int, Grants]:
        keys = [key.decode() for key in await self._ask_about(GRANTED, "ZRANGE", 0, MOST_LISTED - 1)]
        now_us, packed = await self._kept(keys)
        found, ended = in_force(keys, packed, now_us)
        if ended:
            await self._ask_about(GRANTED, "ZREM", *ended)
        return now_us, found

    async def troubled(self) -> tuple[str, ...]:
        listed = await self._ask_about(LIST, "ZRANGE", 0, MOST_LISTED - 1)
        begin = len(self._prefix)
        return tuple(key.decode()[begin:] for key in listed)

    async def guards(self, guards: Sequence[Guard]) -> tuple[int, tuple[Kept, ...]]:
        keys = [guard.key for guard in guards]
        check_distinct(keys)
        now_us, packed = await self._kept(keys)
        return now_us, tuple(unpack_kept(guard.rule, one) for guard, one in zip(guards, packed, strict=True))
