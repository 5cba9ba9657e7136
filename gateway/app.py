"""One worker, put together: the only place that builds objects and connects them. Start, serve, stop."""

import asyncio
import secrets
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from gateway.admin.lookout import Lookout
from gateway.admin.server import AdminServer
from gateway.admin.watching.switching import Switches
from gateway.build import build_eviction, build_gateway, build_listener, build_outage, join
from gateway.connection_tests.probing import Probing
from gateway.core.connections.outcome import Outcomes
from gateway.core.policy import PolicySet
from gateway.ending import Ending, HandOver
from gateway.guards.census import Census
from gateway.listener.tls import Certificates
from gateway.memory import calm_collector, keep_pages
from gateway.modules.hooks import open_hooks
from gateway.names import KnownNames
from gateway.observe.batch import Batch
from gateway.observe.connections.errors import ConnectionErrors
from gateway.observe.connections.reporting import Connections, tell_transition
from gateway.observe.log.access import AccessLog
from gateway.observe.log.logger import (
    close_logging,
    configure_logging,
    envelope,
    event,
    reopen_logs,
    use_level,
    use_policy_version,
)
from gateway.observe.log.sampling import SampledLog, access_log
from gateway.observe.metrics.files import put_back
from gateway.observe.metrics.sink import Metrics
from gateway.observe.reports.alerts import Alerts
from gateway.observe.reports.near_limit import NearLimit
from gateway.observe.trace.sink import open_spans
from gateway.policy.sources import Sources
from gateway.record import RecordSink
from gateway.reload.certificates import Trusting, reload_certificates, tell_unusable
from gateway.reload.in_force import InForce
from gateway.reload.transaction import Reload
from gateway.settings import Settings
from gateway.siblings import Siblings
from gateway.signals import on_signal
from gateway.store import StoreDown
from gateway.store.open import open_store
from gateway.store.shared.answers import open_answers
from gateway.store.shared.shelf import Shelf
from gateway.store.shared.status import open_statuses
from gateway.view import WorkerView


class Worker:
    """One worker process's life: `run` serves until SIGTERM or SIGINT, drains, and returns the exit code.

    settings, policies           to begin with
    listen_socket, admin_socket  bound by the supervisor
    store_url   where the counters live when the settings only say `embedded`
    siblings    the line to the other workers
    sources     where settings and policies are read again; None = never
    names       where names of upstreams and of the store have led, as workers before have told
    directory   private to this gateway, for what workers hand each other; None = there is only this one
    reloading   told when a reload begins and when it has ended
    on_ready    called once, when calls are served, with whether the store can be used
    hand_over   what SIGUSR2 does: a new version on the same sockets; None = that is not ours to do
    """

    def __init__(
        self,
        settings: Settings,
        policies: PolicySet,
        *,
        listen_socket: socket.socket,
        admin_socket: socket.socket | None,
        index: int = 0,
        store_url: str = "",
        siblings: Siblings | None = None,
        sources: Sources | None = None,
        names: Sequence[Mapping[str, object]] = (),
        directory: Path | None = None,
        reloading: Callable[[bool], None] = lambda _: None,
        on_ready: Callable[[bool], None] = lambda _: None,
        hand_over: HandOver | None = None,
    ) -> None:
        self._settings = settings
        self._policies = policies
        self._worker = index
        self._envelope = envelope(settings, worker=index)
        self._siblings = siblings or Siblings(index)
        self._listen_socket = listen_socket
        self._admin_socket = admin_socket
        self._store_url = store_url
        self._names = KnownNames()
        for told in names:
            self._names.hear(told)
        self._on_ready = on_ready
        self._hand_over = hand_over
        self._certificates = Certificates()
        self._ending = Ending()
        self._admin: AdminServer | None = None
        self._metrics = Metrics(policies, worker=index)
        self._directory = directory
        self._make_reload = partial(Reload, sources=sources, directory=directory, reloading=reloading)

    @property
    def settings(self) -> Settings:
        """In force."""
        return self.gateway.settings

    def put_back(self) -> None:
        """Somebody has removed what this worker has in the directory, or some of it."""
        put_back()
        self.gateway.authenticator.put_back()

    async def run(self) -> int:
        """Serve. Signals are heard before anything slow starts."""
        self._hear_signals()
        configure_logging(self._settings.logging, self._envelope)
        use_policy_version(self._policies.version)
        event("gateway.started", "Worker started", listen=str(self._settings.listen))
        self._build()
        await self._open()
        await self.listener.start(self._listen_socket)
        await self._start_admin()
        self._names.share(self._tell_name)
        tell_unusable()
        self._hear_of_new_versions()
        self._metrics.start()
        self._connections.start()
        self._census.start()
        self._alerts.start()
        self._probing.start()
        calm_collector()
        keep_pages()
        event("gateway.ready", "Worker serves calls")
        self._on_ready(self._outage.up)
        self._reload.start()
        await self._ending.asked()
        if self._hand_over is not None:
            self._hand_over.abandon()
        await self._reload.close()
        cut = await self._ending.drain(self.gateway, self.listener)
        await self._close()
        event("gateway.stopped", "Worker stopped", cut_calls=cut)
        close_logging()
        self._metrics.close()  # behind the log, which may have lost its last lines
        return 0

    def _build(self) -> None:
        """Every part, joined to the others. Nothing is started yet."""
        settings, policies, siblings, metrics = self._settings, self._policies, self._siblings, self._metrics
        names = self._names
        self.store = open_store(settings.store, url=self._store_url, on_event=self._hear_store, known=names)
        self._access = access_log(settings.logging, self._envelope)
        self._statuses = open_statuses(self.store, tell_transition)
        self._connections = self._watch_connections()
        answers = open_answers(settings.store, self._store_url, names)
        batch = self._batch = Batch(self._sinks())
        gateway = self.gateway = build_gateway(settings, policies, self.store, batch, self._worker, answers, names)
        hooks = self._hooks = open_hooks(settings, self._store_url, metrics, names)
        intake = hooks.intake if hooks is not None else None
        listener = self.listener = build_listener(gateway, self._certificates, intake)
        self._outage = build_outage(gateway, self._worker, metrics, siblings)
        self._eviction = build_eviction(gateway, self._worker)
        self._census = Census(self.store, policies.breakers)
        self._probing = Probing(gateway, Shelf(self.store), self._statuses, secrets.token_hex(8))
        switches = Switches(siblings, settings.logging.level, partial(_use_level, self._access), self._rest)
        in_force = InForce(gateway, listener, metrics, self._census, self._connections, switches.use)
        self._reload = self._make_reload(in_force, siblings)
        self._view = self._show(switches)
        metrics.levels = self._view.levels
        self._alerts = Alerts(settings.alerts, metrics.asked, self._tell_alert)
        join(gateway, metrics, self._connections, siblings, self._outage)
        siblings.on("name", names.hear)
        siblings.on("store_left", self._outage.heard)
        siblings.on("alerts", self._take_over)
        siblings.on("retire", self._retire)

    def _show(self, switches: Switches) -> WorkerView:
        """What operators see of the parts."""
        view = WorkerView(
            worker=self._worker,
            gateway=self.gateway,
            listener=self.listener,
            store=self.store,
            outage=self._outage,
            statuses=self._statuses,
            siblings=self._siblings,
            switches=switches,
            reload=self._reload,
            metrics=self._metrics,
            census=self._census,
            ending=self._ending,
            hooks=self._hooks,
            certificates=self._certificates,
        )
        view.lookout = Lookout(self._siblings, self._batch, self._access, self._metrics.pulse, view.facts)
        return view

    def _sinks(self) -> list[RecordSink]:
        """Where finished calls are told."""
        metrics = self._metrics
        if isinstance(self._access, SampledLog):
            metrics.follow("gateway_log_lines_sampled_out_total", self._access.left_out)
        sinks: list[RecordSink] = [self._access, metrics, NearLimit(metrics.on_near), self._connections]
        self._spans = open_spans(self._settings, self._worker)
        if self._spans is not None:
            metrics.follow("gateway_traced_calls_total", self._spans.counts)
            sinks.append(self._spans)
        return sinks

    def _watch_connections(self) -> Connections:
        statuses = self._statuses
        errors = ConnectionErrors(self._settings.logging, self._envelope)
        outcomes = Outcomes(self._policies.classes, self._policies.breakers.values())
        return Connections(outcomes, errors, statuses.report, ready=lambda: statuses.up)

    async def _open(self) -> None:
        """What is outside: upstreams, issuers, the store. A store that is down does not stop us: it keeps trying."""
        policies = self._policies
        await self.gateway.upstreams.load(policies)
        await self.gateway.authenticator.load(policies, self._directory)
        self.gateway.supply.load(policies)
        event("policy.loaded", "Policy loaded", version=policies.version, files=list(policies.files))
        if self._hooks is not None:
            await self._hooks.start()  # it is to hear of a store that is not there
        with suppress(StoreDown):
            await self.store.start()
            self._eviction.look()
        await self.gateway.caches.opened()
        self._outage.start()
        on_signal(signal.SIGHUP, self._asked_to_reload)

    async def _start_admin(self) -> None:
        """By the time the siblings may ask, everybody has said what they answer."""
        listen, listening = self._settings.admin, self._admin_socket
        if listen is None or listening is None:
            await self._siblings.start()
            return
        self._admin = AdminServer(self._view)
        await self._siblings.start()
        await self._view.switches.learn()
        await self._admin.start(listening, self._certificates.context("admin", listen.tls))

    async def _close(self) -> None:
        gateway = self.gateway
        await gateway.caches.close()
        await gateway.upstreams.close()
        await gateway.authenticator.close()
        await gateway.supply.close()
        self._batch.flush()
        if self._spans is not None:
            await asyncio.to_thread(self._spans.close)
        gateway.leases.close()
        self._alerts.close()
        await self._census.close()
        await self._probing.close()
        await gateway.breakers.close()
        await gateway.pauses.close()
        await self._connections.close()
        await self._outage.close()
        await self._eviction.close()
        if self._hooks is not None:
            await self._hooks.close()
        await self.store.close()
        if self._admin is not None:
            await self._admin.close()
        await self._siblings.close()

    def _tell_name(self, told: Mapping[str, object]) -> None:
        """Where a name leads, to those who serve and for those who will follow them."""
        self._siblings.tell_all("name", told)
        self._siblings.tell_supervisor("name", told)

    def _tell_alert(self, alert: str, upstream: str, raised: bool) -> None:
        """For who follows in this worker's place."""
        told = {"worker": self._worker, "alert": alert, "upstream": upstream, "raised": raised}
        self._siblings.tell_supervisor("alert", told)

    def _take_over(self, told: Mapping[str, Sequence[tuple[str, str, float]]]) -> None:
        """From who forked us, as soon as we serve: alerts of the worker before."""
        raised = {(alert, upstream): waited_s for alert, upstream, waited_s in told["raised"]}
        self._alerts.take_over(raised, asyncio.get_running_loop().time())
        self._alerts.start()

    def _hear_store(self, name: str, fields: Mapping[str, object]) -> None:
        self._outage.on_store_event(name, fields)
        if name == "store.recovered":
            self._eviction.look()

    def _hear_signals(self) -> None:
        """SIGTERM waits out the drain's delay, SIGINT does not; a second one of either kind cuts what is left."""
        on_signal(signal.SIGTERM, partial(self._ending.ask, False))
        on_signal(signal.SIGINT, partial(self._ending.ask, True))
        on_signal(signal.SIGUSR1, reopen_logs)
        on_signal(signal.SIGHUP, partial(reload_certificates, self._certificates, ()))

    def _hear_of_new_versions(self) -> None:
        """SIGUSR2 of the only worker; of several, the supervisor hears it."""
        hand_over, listening = self._hand_over, self.listener.listening
        if hand_over is not None and listening is not None:
            begin = partial(hand_over.begin, listening, self._admin_socket, partial(self._retire, None))
            on_signal(signal.SIGUSR2, begin)

    def _asked_to_reload(self) -> None:
        """Everything that is read from files."""
        gateway = self.gateway
        others: list[Trusting] = [gateway.upstreams, gateway.authenticator, gateway.supply]
        reload_certificates(self._certificates, others + ([self._hooks] if self._hooks is not None else []))
        self._reload.signalled()

    async def _retire(self, _told: object) -> None:
        """Our successor serves: nobody asks us any more how we are, and we end what we have begun."""
        self._alerts.close()
        await self._reload.close()
        if self._admin is not None:
            await self._admin.close()
        self._ending.retire()

    def _rest(self, resting: bool) -> None:
        """A drain that an operator began, or ended: callers should look for other gateways meanwhile."""
        if self.listener.accepting:
            self.listener.keeping_alive = not resting


def _use_level(access: AccessLog, level: str) -> None:
    use_level(level)
    access.use_level(level)
