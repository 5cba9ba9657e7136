"""Connection tests by the clock: of the connections that credentials name, at upstreams whose `probe` has an interval.

Of a fleet one worker at a time does it for an upstream: whoever gets the lease for the interval.
"""

import asyncio
import random
from collections.abc import Sequence
from functools import partial
from itertools import count

from gateway.call import Gateway
from gateway.connection_tests.steps import Subject, check
from gateway.core.connections.names import as_said, owners
from gateway.core.upstream import Upstream
from gateway.store.shared.shelf import Shelf
from gateway.store.shared.status import Statuses, known_as

LOOK_S = 1.0
AT_ONCE = 4
"""Connections of one upstream that are tested side by side."""
LEASE_PERCENT = 90
"""Of the interval: whoever looks next when it is over may begin."""


class Probing:
    """One worker's part in it.

    statuses  know whose a connection is where its credentials do not say that
    owner     names this worker among all of all gateways
    """

    def __init__(self, gateway: Gateway, leases: Shelf, statuses: Statuses, owner: str, look_s: float = LOOK_S) -> None:
        self._gateway = gateway
        self._leases = leases
        self._statuses = statuses
        self._owner = owner
        self._look_s = look_s
        self._due: dict[str, tuple[int, float]] = {}  # by upstream: its interval, and when the next round begins
        self._rounds = count(1)
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._watching: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look whether something is due. Needs the running loop."""
        self._watching = asyncio.create_task(self._watch(), name="probes")

    async def close(self) -> None:
        """End what is under way."""
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
        """Workers that begin together do not all look at once, nor when a reload has changed an interval."""
        for upstream in self._gateway.policies.upstreams.values():
            name, interval_us = upstream.name, upstream.probe.interval_us if upstream.probe is not None else 0
            if not interval_us or name in self._under_way:
                continue
            known_us, due_s = self._due.get(name, (0, 0.0))
            if known_us != interval_us:
                due_s = now_s + random.random() * interval_us / 1e6  # noqa: S311 - no secret
                self._due[name] = interval_us, due_s
            if now_s >= due_s:
                self._due[name] = interval_us, now_s + interval_us / 1e6
                task = self._under_way[name] = asyncio.create_task(self._round(upstream, interval_us))
                task.add_done_callback(partial(self._ended, name))

    def _ended(self, name: str, _round: "asyncio.Task[None]") -> None:
        del self._under_way[name]

    async def _round(self, upstream: Upstream, interval_us: int) -> None:
        """All connections of an upstream, if nobody else has had this round.

        A lease is for one interval: that of a day says nothing to those who have heard since that it is a minute.
        """
        lease = f"probe:{upstream.name}:{interval_us}"
        owner = f"{self._owner}:{next(self._rounds)}"
        found = await self._leases.take(lease, owner, 0, interval_us * LEASE_PERCENT // 100)
        if not found.mine if found is not None else self._leases.shared:
            return
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


def subjects(upstream: Upstream) -> Sequence[Subject]:
    """The connections that its credentials name."""
    matches = [dict(credential.match) for credential in upstream.credentials]
    return [
        Subject(match["connection"], match.get("tenant", ""), upstream) for match in matches if "connection" in match
    ]
