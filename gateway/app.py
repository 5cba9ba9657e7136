"""One worker, put together: the only place that builds objects and connects them. Start, serve, drain, stop."""

import asyncio
import gc
import signal
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from gateway.admin.lookout import Lookout
from gateway.admin.server import AdminServer
from gateway.admin.switching import Switches
from gateway.admin.view import Check
from gateway.build import build_gateway, build_listener
from gateway.call import Gateway
from gateway.census import Census
from gateway.core.ask import Ask
from gateway.core.authentication import Denied, Headers, Identity, Scheme
from gateway.core.connection_outcome import Outcomes
from gateway.core.guards import Change, Guard
from gateway.core.limits import Posture
from gateway.core.policy import PolicySet
from gateway.core.shares import Fleet
from gateway.editions import Editions
from gateway.listener.listener import Listener
from gateway.listener.tls import Certificates
from gateway.observe.batch import Batch
from gateway.observe.breaker_changes import breaker_changed
from gateway.observe.connection_errors import ConnectionErrors
from gateway.observe.connections import Connections, tell_transition
from gateway.observe.events import EVENTS
from gateway.observe.gave_up import gave_up
from gateway.observe.levels import Levels
from gateway.observe.log import (
    AccessLog,
    close_logging,
    configure_logging,
    dropped_lines,
    envelope,
    event,
    reopen_logs,
    use_level,
    use_policy_version,
)
from gateway.observe.metrics import Metrics
from gateway.observe.near import NearLimit
from gateway.observe.pauses import upstream_paused
from gateway.observe.sampling import SampledLog, access_log
from gateway.observe.traces import open_spans
from gateway.outage import Outage
from gateway.policy.sources import Sources
from gateway.record import CallRecord, RecordSink
from gateway.reload import Reload
from gateway.settings import Settings
from gateway.siblings import Siblings
from gateway.store import Store, StoreDown
from gateway.store.open import open_store
from gateway.store.status import open_statuses

LASTING = ("WRONGPASS", "NOAUTH", "NOPERM", "DB index")
"""In what a store says: mistakes of set-up that no waiting mends."""
SETTLE_S = 0.1
"""Between the first `Connection: close` and closing idle sockets: requests already on their way get an answer."""


class Worker:
    """One worker process's life: `run` serves until SIGTERM or SIGINT, drains, and returns the exit code.

    listen_socket, admin_socket  bound by the supervisor
    store_url   where the counters live when the settings only say `embedded`
    siblings    the line to the other workers
    sources     where settings and policies are read again; None = never
    directory   private to this gateway, for what workers hand each other; None = there is only this one
    reloading   told when a reload begins and when it has ended
    on_ready    called once, when calls are served
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
        directory: Path | None = None,
        reloading: Callable[[bool], None] = lambda _: None,
        on_ready: Callable[[], None] = lambda: None,
    ) -> None:
        self.settings = settings
        self.policies = policies
        self.worker = index
        self._draining = False
        self.siblings = siblings or Siblings(index)
        self._listen_socket = listen_socket
        self._admin_socket = admin_socket
        self._store_url = store_url
        self._on_ready = on_ready
        self._certificates = Certificates()
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._now = asyncio.Event()
        self._listener: Listener | None = None
        self._gateway: Gateway | None = None
        self._admin: AdminServer | None = None
        self._metrics = Metrics(policies, levels=self._levels, worker=index)
        self.reload: Reload
        self._make_reload = partial(Reload, sources=sources, directory=directory, reloading=reloading)

    async def run(self) -> int:
        """Serve. Signals are heard before anything slow starts."""
        self._hear_signals()
        configure_logging(self.settings.logging, envelope(self.settings, worker=self.worker))
        use_policy_version(self.policies.version)
        event("gateway.started", "Worker started", listen=str(self.settings.listen))
        gateway = await self._build()
        listener = self._listener = build_listener(gateway, self._certificates)
        parts = (listener, self._metrics, self._census, self._connections, self.switches.use)
        editions = Editions(self, gateway, *parts)
        self.reload = self._make_reload(editions, self.siblings)
        self.siblings.on("retire", self._retire)
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._asked_to_reload)
        await listener.start(self._listen_socket)
        await self._start_admin()
        self._metrics.start()
        self._connections.start()
        self._census.start()
        _calm_collector()
        event("gateway.ready", "Worker serves calls")
        self._on_ready()
        self.reload.start()
        await self._stop.wait()
        await self.reload.close()
        cut = await self._drain(listener)
        await self._close(gateway)
        if self._admin is not None:
            await self._admin.close()
        await self.siblings.close()
        event("gateway.stopped", "Worker stopped", cut_calls=cut)
        close_logging()
        return 0

    async def _build(self) -> Gateway:
        """Everything that calls need, started. A store that is down does not stop us: it keeps trying."""
        self.store = open_store(
            self.settings.store,
            url=self._store_url,
            on_event=self._hear_store,
        )
        access = access_log(self.settings.logging, envelope(self.settings, worker=self.worker))
        if isinstance(access, SampledLog):
            self._metrics.follow("gateway_log_lines_sampled_out_total", access.left_out)
        self.switches = Switches(self.siblings, self.settings.logging.level, partial(_use_level, access), self._rest)
        self._connections = self._watch_connections()
        sinks: list[RecordSink] = [access, self._metrics, NearLimit(self._metrics.on_near), self._connections]
        self._spans = open_spans(self.settings, self.worker)
        if self._spans is not None:
            self._metrics.follow("gateway_traced_calls_total", self._spans.counts)
            sinks.append(self._spans)
        batch = self._batch = Batch(sinks)
        gateway = self._gateway = build_gateway(self.settings, self.policies, self.store, [batch], self.worker)
        self.outage = self._watch_store(gateway)
        self.lookout = Lookout(self.siblings, batch, access, self._metrics.pulse, self._facts)
        gateway.on_crash = _report_crash
        gateway.on_fallback = self._metrics.on_fallback
        gateway.breakers.on_change = partial(breaker_changed, self._metrics)
        gateway.pauses.on_pause = partial(upstream_paused, self._metrics)
        gateway.on_retry = self._metrics.on_retry
        gateway.on_stop = partial(gave_up, self._metrics)
        gateway.authenticator.on_event = _authentication_event
        await gateway.upstreams.load(self.policies)
        await gateway.authenticator.load(self.policies)
        event("policy.loaded", "Policy loaded", version=self.policies.version, files=list(self.policies.files))
        with suppress(StoreDown):
            await self.store.start()
        self.outage.start()
        self.siblings.on("store_left", self.outage.heard)
        self.siblings.on("forget_refusals", lambda _: forget_refusals(gateway.callers.asks()))
        self._census = Census(self.store, self.policies.breakers)
        return gateway

    def _watch_store(self, gateway: Gateway) -> Outage:
        return Outage(
            self.store,
            gateway.fallback,
            gateway.leases,
            Fleet(self.settings.workers, self.worker),
            tell=self._store_event,
            asks=gateway.callers.asks,
            use=partial(setattr, gateway, "store"),
            share=partial(self.siblings.tell_all, "store_left"),
        )

    def _watch_connections(self) -> Connections:
        statuses = self.statuses = open_statuses(self.store, tell_transition)
        errors = ConnectionErrors(self.settings.logging, envelope(self.settings, worker=self.worker))
        return Connections(Outcomes(self.policies.classes), errors, statuses.report, ready=lambda: statuses.up)

    async def _start_admin(self) -> None:
        """By the time the siblings may ask, everybody has said what they answer."""
        listen, listening = self.settings.admin, self._admin_socket
        if listen is None or listening is None:
            await self.siblings.start()
            return
        self._admin = AdminServer(self)
        await self.siblings.start()
        await self.switches.learn()
        await self._admin.start(listening, self._certificates.context(listen.tls))

    async def _close(self, gateway: Gateway) -> None:
        await gateway.upstreams.close()
        await gateway.authenticator.close()
        self._batch.flush()
        if self._spans is not None:
            await asyncio.to_thread(self._spans.close)
        gateway.leases.close()
        await self._census.close()
        await gateway.breakers.close()
        await gateway.pauses.close()
        await self._connections.close()
        await self.outage.close()
        await self.store.close()
        self._metrics.close()

    def _hear_store(self, name: str, fields: Mapping[str, object]) -> None:
        self.outage.on_store_event(name, fields)

    def _store_event(self, name: str, fields: Mapping[str, object]) -> None:
        self._metrics.on_store_event(name, fields)
        lasting = any(word in str(fields.get("detail")) for word in LASTING)
        level = "info" if name != "store.degraded" else "error" if lasting else "warning"
        _tell(name, level, fields)

    def _hear_signals(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._asked_to_stop, False)
        loop.add_signal_handler(signal.SIGINT, self._asked_to_stop, True)
        loop.add_signal_handler(signal.SIGUSR1, reopen_logs)
        loop.add_signal_handler(signal.SIGHUP, self._reload_certificates)

    def _asked_to_reload(self) -> None:
        """Everything that is read from files."""
        self._reload_certificates()
        self.reload.signalled()

    async def _retire(self, _told: object) -> None:
        """Our successor serves: nobody asks us any more how we are, and we end what we have begun."""
        await self.reload.close()
        if self._admin is not None:
            await self._admin.close()
        self._asked_to_stop(True)

    def _reload_certificates(self) -> None:
        """Handshakes from now on show what the files say now; while they cannot be used, what they said before."""
        try:
            count = self._certificates.reload()
        except OSError as error:
            _tell("certificates.rejected", "error", {"reason": error.strerror or str(error)})
        else:
            _tell("certificates.loaded", "info", {"count": count})

    def _asked_to_stop(self, impatient: bool) -> None:
        """SIGTERM waits out the drain delay, SIGINT does not; a second signal of either kind cuts what is left."""
        if self._stop.is_set():
            self._now.set()
        if self._stop.is_set() or impatient:
            self._hurry.set()
        self._stop.set()

    async def _drain(self, listener: Listener) -> int:
        """Readiness fails first, so that nobody sends more; then nothing is accepted; then calls finish.

        Returns how many sockets had to be cut.
        """
        self._draining = True
        event("gateway.draining", "Worker drains")
        listener.retire()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._hurry.wait(), self.settings.drain.delay_us / 1e6)
        await asyncio.sleep(SETTLE_S)
        listener.stop_accepting()
        self._cut_after(self.settings.drain.grace_us / 1e6)
        finish = asyncio.create_task(listener.wait_closed(self.settings.drain.grace_us / 1e6))
        now = asyncio.create_task(self._now.wait())
        await asyncio.wait((finish, now), return_when=asyncio.FIRST_COMPLETED)
        now.cancel()
        if finish.done():
            return finish.result()
        finish.cancel()
        self._cut_after(0)
        return await listener.wait_closed(0)

    def _cut_after(self, grace_s: float) -> None:
        if self._gateway is not None:
            self._gateway.cut_at = self._gateway.clock() + grace_s

    # What the admin listener sees (`gateway.admin.view.AdminView`)

    @property
    def draining(self) -> bool:
        """Told to stop, or to look as if."""
        return self._draining or self.switches.draining

    def _rest(self, resting: bool) -> None:
        """A drain that an operator began, or ended: callers should look for other gateways meanwhile."""
        if self._listener is not None and self._listener.accepting:
            self._listener.keeping_alive = not resting

    def store_status(self) -> Mapping[str, object]:
        """Of the store and of this worker's link to it."""
        return self.outage.status()

    async def authenticate(self, schemes: Sequence[Scheme], headers: Headers) -> Identity | Denied:
        """As calls are looked at."""
        assert self._gateway is not None, "the admin listener starts after the gateway is built"
        return await self._gateway.authenticator.authenticate(schemes, headers)

    def _facts(self) -> Mapping[str, Any]:
        """What a report says besides."""
        levels = self._levels()
        return {
            "policy_version": self.policies.version,
            "draining": self.draining,
            "in_flight": levels.in_flight,
            "open_sockets": levels.open_connections.get("calls", 0),
            "store_up": levels.store_up,
            "log_lines_dropped": dropped_lines(),
        }

    async def forget_refusals(self) -> None:
        """What was used up may be so no more."""
        await self.siblings.ask_all("forget_refusals", {}, timeout_s=SETTLE_S)

    def checks(self) -> Sequence[Check]:
        """Conditions of readiness. A store that is down sends callers away only when a limit denies then."""
        listening = self._listener is not None and self._listener.accepting
        denied = any(limit.on_store_error is Posture.DENY for limit in self.policies.limits.values())
        return (
            Check("policies", True, self.policies.version),
            Check("listener", listening, str(self.settings.listen)),
            Check("store", self.outage.up or not denied, self.outage.in_words()),
        )

    @property
    def own_store(self) -> Store:
        """What this worker counts for itself alone."""
        assert self._gateway is not None, "the admin listener starts after the gateway is built"
        return self._gateway.breakers.own

    def breaker_changed(self, guard: Guard, change: Change) -> None:
        """An operator changed a breaker's state: told like every other change."""
        breaker_changed(self._metrics, guard, change)

    async def render_metrics(self, accept: str) -> tuple[bytes, str]:
        """What `/metrics` answers. Putting it together is not done in the way of calls."""
        self._metrics.pour()
        return await asyncio.to_thread(self._metrics.text, accept)

    def _levels(self) -> Levels:
        """What is read off rather than counted."""
        gateway, listener = self._gateway, self._listener
        if gateway is None or listener is None:
            return Levels()
        return Levels(
            in_flight=gateway.in_flight,
            open_connections={"calls": listener.open_sockets},
            upstream_connections={name: (pool.active, pool.idle) for name, pool in gateway.upstreams.pools().items()},
            store_up=self.outage.up,
            breaker_keys=self._census.counts,
            slots=gateway.leases.slots(),
        )


def _authentication_event(name: str, fields: Mapping[str, object]) -> None:
    _tell(name, "warning" if name == "authentication.keys_failed" else "info", fields)


def _tell(name: str, level: str, fields: Mapping[str, object]) -> None:
    """An event whose message is the beginning of what `EVENTS` says about it."""
    event(name, EVENTS[name].partition(";")[0].partition(",")[0].rstrip("."), level, **fields)


def _calm_collector() -> None:
    """What was loaded stays: do not look through it again and again. Calls leave hardly any cycles behind.

    Without this a full collection stops the worker for tens of milliseconds, several times a second under load.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def forget_refusals(asks: Iterable[Ask]) -> None:
    """Somebody has changed what is counted: ask the store again, also about those whom it has just refused."""
    for ask in asks:
        ask.used_up = None


def _use_level(access: AccessLog, level: str) -> None:
    use_level(level)
    access.use_level(level)


def _report_crash(crash: BaseException, record: CallRecord) -> None:
    event("call.crashed", "Call met an error of ours", "error", request_id=record.request_id, exc_info=crash)
