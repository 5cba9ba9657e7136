"""What caches need of the store that all gateways share: see `gateway.store.shared.answers`."""

from typing import Protocol

from gateway.core.cache.place import Found, Place
from gateway.core.cache.rules import Stored


class FleetCache(Protocol):
    """`find`, `purge` and `size` raise StoreDown; all else is told and not waited for."""

    @property
    def up(self) -> bool: ...

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def find(
        self,
        place: Place,
        known: Stored | None,
        now_us: int,
        *,
        token: str = "",
        lease_ms: int = 0,
        insist: bool = False,
    ) -> Found: ...

    def put(self, place: Place, stored: Stored, *, asked_us: int, now_us: int, most_bytes: int) -> None: ...

    def renew(self, place: Place, token: str, lease_ms: int) -> None: ...

    def release(self, place: Place, token: str, outcome: str, for_ms: int) -> None: ...

    def forget(self, room: str, target: str) -> None: ...

    async def purge(self, room: str, tenant: str | None, prefix: str) -> int: ...

    async def size(self, room: str) -> tuple[int, int]: ...
