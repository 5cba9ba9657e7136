"""What is in force in one worker: here the editions are put in place that `transaction.py` decides on."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from gateway.call import Gateway
from gateway.core.connections.outcome import Outcomes
from gateway.core.policy import PolicySet
from gateway.guards.census import Census
from gateway.listener.listener import Listener
from gateway.observe.connections.reporting import Connections
from gateway.observe.log.logger import use_policy_version
from gateway.observe.metrics.sink import Metrics
from gateway.observe.reports.reloads import tell_reload
from gateway.policy.changes import in_force
from gateway.reload.edition import Edition
from gateway.reload.outcome import Outcome
from gateway.reload.swap import Prepared, discard, prepare, swap
from gateway.settings import Settings


class InForce:
    """The parts of one worker that depend on what is in force. `transaction.Worker` says what it can do.

    use_level  told of another lowest level of the log
    """

    def __init__(
        self,
        gateway: Gateway,
        listener: Listener,
        metrics: Metrics,
        census: Census,
        connections: Connections,
        use_level: Callable[[str], None],
    ) -> None:
        self._gateway = gateway
        self._listener = listener
        self._metrics = metrics
        self._census = census
        self._connections = connections
        self._use_level = use_level
        self._prepared: Prepared | None = None
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def settings(self) -> Settings:
        """In force."""
        return self._gateway.settings

    @property
    def policies(self) -> PolicySet:
        """In force."""
        return self._gateway.policies

    async def prepare(self, edition: Edition) -> Callable[[], Awaitable[None]]:
        """See `transaction.Worker`."""
        settings = in_force(self.settings, edition.fresh)
        prepared = self._prepared = await prepare(self._gateway, settings, edition.policies)
        return partial(discard, self._gateway, prepared)

    def commit(self, edition: Edition) -> None:
        """See `transaction.Worker`."""
        prepared, self._prepared = self._prepared, None
        assert prepared is not None, "it was prepared"
        level = self.settings.logging.level
        close_before = swap(self._gateway, prepared)
        self._listener.use(self.settings.bounds)
        self._connections.outcomes = Outcomes(edition.policies.classes, edition.policies.breakers.values())
        self._census.use(edition.policies.breakers)
        self._metrics.policy_loaded(edition.policies, counted=False)
        use_policy_version(edition.policies.version)
        if self.settings.logging.level != level:
            self._use_level(self.settings.logging.level)
        closing: asyncio.Task[None] = asyncio.create_task(close_before())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    def heard(self, outcome: Outcome) -> None:
        """See `transaction.Worker`."""
        self._metrics.reload_went(well=outcome.good)

    def reloaded(self, outcome: Outcome) -> None:
        """See `transaction.Worker`."""
        self._metrics.count_reload(outcome.result)
        tell_reload(outcome.as_dict(), self.policies.files)
