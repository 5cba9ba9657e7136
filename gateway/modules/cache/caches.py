"""The caches of one worker: one for each route that has one, and their counters."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import replace
from time import time
from typing import Any, NamedTuple

from gateway.core.cache.place import room_of
from gateway.core.cache.rules import Cache, Stored
from gateway.core.policy import PolicySet, Route
from gateway.core.upstream import Upstream
from gateway.modules.cache.flights import Flights
from gateway.modules.cache.memory import Memory
from gateway.store import StoreDown
from gateway.store.shared.answers import SharedAnswers

MOST_REFRESHES = 64
"""Answers that are validated in the background at the same time; beyond it, they stay stale a little longer."""


class Purge(NamedTuple):
    """What an operator wants gone; None = whatever it is.

    prefix  of what the upstream was asked for: its path, and its query if the prefix has a `?`
    """

    route: str | None = None
    tenant: str | None = None
    prefix: str | None = None

    def fits(self, stored: Stored) -> bool:
        """Whether this answer is to go, if it is of the route."""
        if self.tenant is not None and stored.tenant != self.tenant:
            return False
        return self.prefix is None or stored.target.startswith(self.prefix)


class Kept:
    """What one route keeps. fleet: where others find it too, in `room`; None = nowhere."""

    __slots__ = ("_at_once", "cache", "fleet", "flights", "memory", "room", "upstream")

    def __init__(self, route: str, cache: Cache, upstream: Upstream, fleet: SharedAnswers | None) -> None:
        self.fleet = fleet if cache.shared else None
        self.room = room_of(route, cache, upstream)
        self.cache = cache
        self.upstream = upstream
        self.memory = Memory(cache.size_bytes)
        self.flights = Flights()
        self._at_once: tuple[Route, Route] | None = None

    def at_once(self, route: Route) -> Route:
        """The route of a call that has an old answer to fall back on: it need not wait for further attempts."""
        if route.retry is None:
            return route
        if self._at_once is None or self._at_once[0] is not route:  # it may be another one after a reload
            self._at_once = (route, replace(route, retry=None))
        return self._at_once[1]


class Caches:
    """By route. A reload keeps what is kept where neither the cache's rules nor the upstream have changed.

    answers  how many calls of which route were answered how: the words of the log's field `cache`
    """

    def __init__(self, fleet: SharedAnswers | None) -> None:
        self._fleet = fleet
        self.answers: Counter[tuple[str, str]] = Counter()
        self._kept: dict[str, Kept] = {}
        self._working: set[asyncio.Task[None]] = set()

    def use(self, policies: PolicySet) -> None:
        """Keep answers by these policies from now on; the caches of routes that did not change stay."""
        before = self._kept
        self._kept = {}
        for route in policies.routes:
            if route.cache is not None:
                kept = before.get(route.name)
                if kept is None or kept.cache != route.cache or kept.upstream != route.upstream:
                    kept = Kept(route.name, route.cache, route.upstream, self._fleet)
                kept.cache, kept.upstream = route.cache, route.upstream
                self._kept[route.name] = kept
        if self._fleet is not None and any(kept.fleet is not None for kept in self._kept.values()):
            self._work(self._fleet.start())
        for name, kept in before.items():
            if self._kept.get(name) is not kept and kept.fleet is not None:
                self._work(_cleared(kept.fleet, kept.room))

    async def opened(self) -> None:
        """Until what all keep can be reached, or was found not to be: the first calls, too, ask once for all."""
        if self._working:
            await asyncio.wait([*self._working])

    def of(self, route: Route) -> Kept | None:
        """None for a call that began with other policies than those in force: it uses no cache."""
        kept = self._kept.get(route.name)
        return kept if kept is not None and kept.cache is route.cache and kept.upstream is route.upstream else None

    def forget(self, upstream: Upstream, target: str, now_us: int) -> None:
        """Whatever is kept of this upstream's answers about this target is wrong."""
        for kept in self._kept.values():
            if kept.upstream.name == upstream.name:
                kept.memory.forget(target, now_us)
                if kept.fleet is not None:
                    kept.fleet.forget(kept.room, target)

    async def purged(self, wanted: Mapping[str, str | None]) -> dict[str, int]:
        """Forget what an operator wants gone, in the store too; how many answers there were.

        wanted  members of `Purge`. Raises StoreDown, when this worker has forgotten all the same.
        """
        purge = Purge(**wanted)
        chosen = [kept for name, kept in self._kept.items() if purge.route in (None, name)]
        here = sum(kept.memory.purge(purge.fits, int(time() * 1e6)) for kept in chosen)
        fleet = [(kept.fleet, kept.room) for kept in chosen if kept.fleet is not None]
        elsewhere = [await one.purge(room, purge.tenant, purge.prefix or "") for one, room in fleet]
        return {"workers": here, "store": sum(elsewhere)}

    def levels(self) -> dict[str, tuple[int, int]]:
        """By route: how many answers, and bytes."""
        return {name: (len(kept.memory), kept.memory.size_bytes) for name, kept in self._kept.items()}

    def summary(self) -> dict[str, Any]:
        """By route what this worker keeps (`kept`: as in `levels`), and how it has answered so far (`answers`)."""
        answers: dict[str, dict[str, int]] = {name: {} for name in self._kept}
        for (name, how), count in self.answers.items():
            answers.setdefault(name, {})[how] = count
        return {name: {"kept": levels, "answers": answers[name]} for name, levels in self.levels().items()}

    async def sizes(self) -> dict[str, Any]:
        """The summary, and what all keep together: `shared`. None = the store does not answer, or keeps nothing."""
        kept = dict(self._kept)
        return {name: {**one, "shared": await _shared(kept[name])} for name, one in self.summary().items()}

    def start(self, work: Callable[[], Coroutine[Any, Any, None]]) -> bool:
        """Do this in the background, if not too much is done there already."""
        if len(self._working) >= MOST_REFRESHES:
            return False
        self._work(work())
        return True

    def _work(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name="cache")
        self._working.add(task)
        task.add_done_callback(self._working.discard)

    async def close(self) -> None:
        """Nobody wants the rest any more. Idempotent."""
        for task in self._working:
            task.cancel()
        if self._working:
            await asyncio.wait(self._working)
        if self._fleet is not None:
            await self._fleet.close()


async def _shared(kept: Kept) -> tuple[int, int] | None:
    try:
        return await kept.fleet.size(kept.room) if kept.fleet is not None else None
    except StoreDown:
        return None


async def _cleared(fleet: SharedAnswers, room: str) -> None:
    """Nobody here looks there any more. What the store does not hear of, it forgets by itself."""
    with suppress(StoreDown):
        await fleet.purge(room, None, "")
