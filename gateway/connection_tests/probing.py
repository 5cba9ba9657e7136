"""Connection tests by the clock: of the connections that credentials name, at upstreams whose `probe` has an interval.

Of a fleet one worker at a time does it for an upstream: whoever gets the lease, which it renews as long as the round
lasts. When all are tested, the store keeps until when that holds. Should the worker die before, its lease is over
soon, and whoever has seen it held begins the round anew. Who has seen nothing yet looks now and then.
"""

import asyncio
import random
from collections.abc import Coroutine, Sequence
from functools import partial
from itertools import count
from math import inf

from gateway.call import Gateway
from gateway.connection_tests.steps import Subject, check
from gateway.core.connections.names import as_said, owners
from gateway.core.units import SECOND_US
from gateway.core.upstream import Upstream
from gateway.lasting import lasting
from gateway.store.shared.shelf import Found, Shelf
from gateway.store.shared.status import Statuses, known_as
from gateway.waiting import end

LOOK_S = 1.0
AT_ONCE = 4
"""Connections of one upstream that are tested side by side."""
LEASE_US, RENEW_S = 15 * SECOND_US, 5.0
"""Of who tests: how long a round of somebody who has died waits, and how often it is renewed."""
LOOK_AGAIN_S = 10.0
"""For who has seen no round yet: less than a lease, or one could come and go in between."""
ASKING_AT_ONCE = 4
"""Upstreams about which the store is asked side by side. A worker that begins asks about all: decisions go between."""


class Probing:
    """One worker's part in it.

    statuses  know whose a connection is where its credentials do not say that
    owner     names this worker among all of all gateways
    """

    def __init__(
        self,
        gateway: Gateway,
        leases: Shelf,
        statuses: Statuses,
        owner: str,
        look_s: float = LOOK_S,
        renew_s: float = RENEW_S,
    ) -> None:
        self._gateway = gateway
        self._leases = leases
        self._statuses = statuses
        self._owner = owner
        self._look_s = look_s
        self._renew_s = renew_s
        self._due: dict[str, tuple[int, float]] = {}  # by upstream: its interval, and when its turn comes
        self._unseen: dict[str, float] = {}  # by upstream: when it is looked again whether somebody has begun
        self._turns = count(1)
        self._asking = asyncio.Semaphore(ASKING_AT_ONCE)
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._watching: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look whether something is due. Needs the running loop."""
        self._watching = lasting("probes", self._watch)

    async def close(self) -> None:
        """End what is under way: another worker begins it anew, as if this one had died."""
        tasks = [task for task in (self._watching, *self._under_way.values()) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _watch(self) -> None:
        while True:
            self._look(self._gateway.clock())
            await asyncio.sleep(self._look_s)

    def _look(self, now_s: float) -> None:
        """Workers that begin together do not all test at once, nor when a reload has changed an interval."""
        for upstream in self._gateway.policies.upstreams.values():
            name, interval_us = upstream.name, upstream.probe.interval_us if upstream.probe is not None else 0
            if not interval_us or name in self._under_way:
                continue
            known_us, due_s = self._due.get(name, (0, 0.0))
            if known_us != interval_us:
                self._due[name] = interval_us, now_s + random.random() * interval_us / 1e6  # noqa: S311 - no secret
                self._begin(name, self._join(upstream, interval_us, now_s))
            elif now_s >= due_s:
                self._plan(name, interval_us, now_s, interval_us)
                self._begin(name, self._turn(upstream, interval_us, now_s))
            elif now_s >= self._unseen.get(name, inf):
                self._begin(name, self._join(upstream, interval_us, now_s))

    def _plan(self, name: str, interval_us: int, now_s: float, wait_us: int) -> None:
        """The next turn; of workers that wait for the same not always the same one is the first."""
        self._due[name] = interval_us, now_s + wait_us / 1e6 + random.random() * self._look_s  # noqa: S311 - no secret
        self._unseen.pop(name, None)

    def _begin(self, name: str, what: Coroutine[object, object, None]) -> None:
        task = self._under_way[name] = asyncio.create_task(what)
        task.add_done_callback(partial(self._ended, name))

    def _ended(self, name: str, _task: "asyncio.Task[None]") -> None:
        del self._under_way[name]

    async def _join(self, upstream: Upstream, interval_us: int, now_s: float) -> None:
        """See how far the others are: who follows a worker that died in its round goes on with it."""
        async with self._asking:
            found = await self._leases.look(_place(upstream, interval_us))
        if found is not None and (found.version or found.held_us):
            self._plan(upstream.name, interval_us, now_s, _wait_us(found, interval_us))
        elif self._leases.shared:
            self._unseen[upstream.name] = now_s + LOOK_AGAIN_S

    async def _turn(self, upstream: Upstream, interval_us: int, now_s: float) -> None:
        """A round, unless another worker has it, or had it since the last one. Then this one comes again when that may
        have changed; when the store is away, when it may be back."""
        place, owner = _place(upstream, interval_us), f"{self._owner}:{next(self._turns)}"
        async with self._asking:
            found = await self._leases.take(place, owner, 0, LEASE_US)
        if found is not None and not found.mine:
            self._plan(upstream.name, interval_us, now_s, _wait_us(found, interval_us))
        elif found is None and self._leases.shared:
            self._plan(upstream.name, interval_us, now_s, min(LEASE_US, interval_us))
        else:
            began_s = self._gateway.clock()
            testing = asyncio.create_task(self._round(upstream))
            if await self._kept(place, owner, testing):
                await self._keep(place, owner, began_s + interval_us / 1e6)
                testing.result()

    async def _kept(self, place: str, owner: str, testing: "asyncio.Task[None]") -> bool:
        """Renew the lease until all are tested; whether it was kept. Who was held up until the round was another's
        leaves it to that one."""
        try:
            while True:
                await asyncio.wait((testing,), timeout=self._renew_s)
                if testing.done():
                    return True
                found = await self._leases.take(place, owner, 0, LEASE_US)
                if found is not None and not found.mine:
                    return False
        finally:
            await end(testing)

    async def _keep(self, place: str, owner: str, until_s: float) -> None:
        """All are tested, which holds until then. A store that misses it is told again while the lease may hold."""
        given_up_s = self._gateway.clock() + LEASE_US / 1e6
        while True:
            now_s = self._gateway.clock()
            left_us = max(0, round((until_s - now_s) * 1e6))
            found = await self._leases.put(place, owner, 0, b"", left_us, left_us)
            if found is not None or not self._leases.shared or now_s >= given_up_s:
                return
            await asyncio.sleep(self._look_s)

    async def _round(self, upstream: Upstream) -> None:
        """All connections of an upstream."""
        room = asyncio.Semaphore(AT_ONCE)

        async def one(subject: Subject) -> None:
            async with room:
                await check(self._gateway, await self._owned(subject))

        await asyncio.gather(*[one(subject) for subject in subjects(upstream)])

    async def _owned(self, subject: Subject) -> Subject:
        """As its callers know it: of the one tenant whose calls have named it, unless the credentials say whose it is.
        Tested for nobody it would be one more connection of that name."""
        if subject.tenant:
            return subject
        found = await known_as(self._statuses, subject.connection)
        tenant, *others = owners(status.named for status in found)
        return subject if others else subject._replace(tenant=as_said(tenant))


def _place(upstream: Upstream, interval_us: int) -> str:
    """Of the lease and of what is kept. It is that of one interval: what holds for a day says nothing to those who have
    heard since that it is a minute."""
    return f"probe:{upstream.name}:{interval_us}"


def _wait_us(found: Found, interval_us: int) -> int:
    """Until the round that was had is over, or the lease of who has it. A clock that was set back makes nobody wait for
    longer than an interval."""
    return min(max(0, found.left_us) if found.version else found.held_us, interval_us)


def subjects(upstream: Upstream) -> Sequence[Subject]:
    """The connections that its credentials name."""
    matches = [dict(credential.match) for credential in upstream.credentials]
    return [
        Subject(match["connection"], match.get("tenant", ""), upstream) for match in matches if "connection" in match
    ]
