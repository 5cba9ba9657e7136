"""A running worker as operators see it: what the admin listener asks for, and what is read off for metrics."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.admin.lookout import Lookout
from gateway.admin.view import Check
from gateway.admin.watching.switching import Switches
from gateway.call import Gateway
from gateway.connection_tests.steps import Subject, check, upstreams_of
from gateway.core.access.authentication import Denied, Headers, Identity, Scheme
from gateway.core.guards import Change, Guard
from gateway.core.policy import PolicySet
from gateway.core.upstream import Upstream
from gateway.ending import Ending
from gateway.guards.census import Census
from gateway.listener.listener import Listener
from gateway.listener.tls import Certificates
from gateway.modules.hooks import Hooks
from gateway.observe.log.logger import dropped_lines
from gateway.observe.metrics.levels import Levels
from gateway.observe.metrics.sink import Metrics
from gateway.observe.reports.breaker_changes import breaker_changed
from gateway.outage import Outage
from gateway.reload.transaction import Reload
from gateway.settings import Settings
from gateway.siblings import Siblings
from gateway.store import Store
from gateway.store.shared.status import Statuses

FORGET_S = 0.1
"""The longest that somebody who has changed a counter waits for the other workers."""


@dataclass(slots=True)
class WorkerView:
    """What `gateway.admin.view.AdminView` promises. `lookout` is set when it has been made, with `facts`."""

    worker: int
    gateway: Gateway
    listener: Listener
    store: Store
    outage: Outage
    statuses: Statuses
    siblings: Siblings
    switches: Switches
    reload: Reload
    metrics: Metrics
    census: Census
    ending: Ending
    hooks: Hooks | None = None
    certificates: Certificates = field(default_factory=Certificates)
    lookout: Lookout = field(init=False)

    @property
    def settings(self) -> Settings:
        """In force."""
        return self.gateway.settings

    @property
    def policies(self) -> PolicySet:
        """In force."""
        return self.gateway.policies

    @property
    def own_store(self) -> Store:
        """What this worker counts for itself alone."""
        return self.gateway.breakers.own

    @property
    def draining(self) -> bool:
        """Whether the worker was told to stop, or an operator has begun a drain."""
        return self.ending.draining or self.switches.draining

    def store_status(self) -> Mapping[str, object]:
        """Of the store and of this worker's link to it."""
        return self.outage.status()

    async def check_connection(self, connection: str, tenant: str, upstream: Upstream) -> Mapping[str, Any]:
        """See `AdminView`."""
        return await check(self.gateway, Subject(connection, tenant, upstream))

    def upstreams_of(self, connection: str, tenant: str) -> Sequence[Upstream]:
        """See `AdminView`."""
        return upstreams_of(self.policies, connection, tenant)

    async def authenticate(self, schemes: Sequence[Scheme], headers: Headers) -> Identity | Denied:
        """Who these credentials stand for, found out as for a call."""
        return await self.gateway.authenticator.authenticate(schemes, headers)

    async def forget_refusals(self) -> None:
        """Have every worker forget refusals it repeats from memory: an operator has changed counters."""
        await self.siblings.ask_all("forget_refusals", {}, timeout_s=FORGET_S)

    def checks(self) -> Sequence[Check]:
        """Conditions of readiness. A store that is down sends callers away only when a limit of a route denies then."""
        return (
            Check("policies", True, self.policies.version),
            Check("listener", self.listener.accepting, str(self.settings.listen)),
            Check("store", self.outage.well or not self._denying(), self.outage.in_words()),
        )

    def _denying(self) -> bool:
        """Whether calls are refused while the store is down. A limit may be defined that no route has yet."""
        return any(limit.denies for route in self.policies.routes for limit in route.limits)

    def breaker_changed(self, guard: Guard, change: Change) -> None:
        """An operator changed a breaker's state: told like every other change."""
        breaker_changed(self.metrics, guard, change)

    async def render_metrics(self, accept: str) -> tuple[bytes, str]:
        """What `/metrics` answers. Putting it together is not done in the way of calls."""
        self.metrics.pour()
        return await asyncio.to_thread(self.metrics.text, accept)

    def levels(self) -> Levels:
        """The levels that are read off when metrics are asked for."""
        gateway = self.gateway
        return Levels(
            in_flight=Counter(call.record.route for call in gateway.calls),
            open_connections={"calls": self.listener.open_sockets},
            upstream_connections={name: (pool.active, pool.idle) for name, pool in gateway.upstreams.pools().items()},
            store_up=self.outage.well,
            breaker_keys=self.census.counts,
            slots=gateway.leases.slots(),
            webhooks=self.hooks.levels if self.hooks is not None else {},
            top_rejected=self.lookout.top_rejected(),
            kept=gateway.caches.levels(),
            certificates={**self.certificates.ends_s, **gateway.upstreams.certificates_end_s()},
        )

    def facts(self) -> Mapping[str, Any]:
        """What this worker's report says of it now."""
        levels = self.levels()
        return {
            "policy_version": self.policies.version,
            "draining": self.draining,
            "in_flight": self.gateway.in_flight,
            "open_sockets": levels.open_connections.get("calls", 0),
            "store_up": levels.store_up,
            "credentials": self.gateway.supply.summary(),
            "cache": self.gateway.caches.summary(),
            "log_lines_dropped": dropped_lines(),
        }
