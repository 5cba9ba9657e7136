"""What upstreams ask of everybody is told the store, so that the whole fleet leaves a connection alone."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol

from gateway.core.guards import Guard
from gateway.core.learning import Heed
from gateway.store.local.store import LocalStore

Paused = tuple[bool, int]
OnPause = Callable[[Guard, int], None]


def ignore_pause(_guard: Guard, _wait_us: int) -> None:
    """Tell nobody of a pause."""


class Keeper(Protocol):
    """Where pauses are kept: the store, or this worker's own memory while the store is down."""

    def pause(self, guard: Guard, for_us: int, left: int) -> Awaitable[Paused]:
        """See `gateway.store.Store.pause`."""


class Pauses:
    """A worker's side of all pauses.

    own       where they are kept while the store is down
    on_pause  told when a pause began, by the one worker in the fleet that began it, and how long it is
    """

    def __init__(self, own: LocalStore) -> None:
        self.on_pause: OnPause = ignore_pause
        self._own = own
        self._telling: set[asyncio.Future[Paused]] = set()

    def begin(self, guard: Guard, heed: Heed, keeper: Keeper | None) -> None:
        """The upstream asked for a rest, or for few calls. Waits for nothing; `keeper` None = the store is down."""
        keeper = self._own if keeper is None else keeper  # an empty local store is false
        telling = asyncio.ensure_future(keeper.pause(guard, heed.for_us, heed.left))
        self._telling.add(telling)
        telling.add_done_callback(partial(self._told, guard))

    async def close(self) -> None:
        """Wait until everybody was told. Idempotent."""
        if self._telling:
            await asyncio.wait(self._telling)

    def _told(self, guard: Guard, telling: "asyncio.Future[Paused]") -> None:
        """What a store that is down was told is lost: the next answer says it again."""
        self._telling.discard(telling)
        if telling.cancelled() or telling.exception() is not None:
            return
        began, wait_us = telling.result()
        if began:
            self.on_pause(guard, wait_us)
