"""The parts that calls go through, put together; nothing is started yet."""

import itertools
import random
import secrets
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from gateway.call import Gateway, KnownFacts
from gateway.callers import Callers
from gateway.core.ask import Ask
from gateway.core.http.timestamps import DateLine
from gateway.core.http.trace import ALL_SAMPLED
from gateway.core.policy import PolicySet
from gateway.core.retry import CHANCE_BITS
from gateway.core.shares import Fleet
from gateway.guards.breakers import Breakers
from gateway.guards.pacing import Pacing
from gateway.guards.pauses import Pauses
from gateway.handle import forwarded_by, handle, handle_bad_head
from gateway.identity.authenticator import Authenticator
from gateway.intake import receive
from gateway.leases import Leases
from gateway.listener.listener import Listener
from gateway.listener.request import Request
from gateway.listener.tls import Certificates
from gateway.modules.cache.caches import Caches
from gateway.modules.credentials.renewal import Surroundings
from gateway.modules.credentials.supply import Supply
from gateway.modules.intake.desk import Intake
from gateway.names import KnownNames
from gateway.observe.connections.reporting import Connections
from gateway.observe.metrics.sink import Metrics
from gateway.observe.reports.breaker_changes import breaker_changed
from gateway.observe.reports.gave_up import gave_up
from gateway.observe.reports.notices import authentication_event, crashed, notice, store_event, token_event
from gateway.observe.reports.pauses import upstream_paused
from gateway.outage import Outage
from gateway.record import RecordSink
from gateway.reload.swap import use_settings
from gateway.settings import Settings
from gateway.siblings import Siblings
from gateway.store import Store, StoreDown
from gateway.store.connection.eviction import Eviction
from gateway.store.local.store import LocalStore
from gateway.store.outage.fallback import Fallback
from gateway.store.shared.answers import SharedAnswers
from gateway.store.shared.shelf import Shelf
from gateway.upstream.directory import Upstreams
from gateway.waiting import Waits


def new_ids() -> Callable[[], str]:
    """Texts that no other process makes: 12 random hex digits of this process, then a counter. They sort by time."""
    prefix = secrets.token_hex(6)
    counter = itertools.count(1)
    return lambda: f"{prefix}{next(counter):08x}"


def build_gateway(
    settings: Settings,
    policies: PolicySet,
    store: Store,
    sink: RecordSink,
    worker: int = 0,
    answers: SharedAnswers | None = None,
    names: KnownNames | None = None,
) -> Gateway:
    """The parts that stages use, with nothing started yet but the link to answers, if some are kept there. Needs a
    running event loop.

    answers  where workers of all gateways find what others keep; None = nowhere
    names    where those of upstreams have led last
    """
    gateway = Gateway()
    gateway.calls = set()
    use_settings(gateway, settings)
    gateway.policies = policies
    gateway.store = store
    own = LocalStore()
    gateway.fallback = Fallback(own, Fleet(settings.workers, worker, settings.store.gateways))
    gateway.breakers = Breakers(own)
    gateway.pauses = Pauses(own)
    gateway.upstreams = Upstreams(settings.bounds.response_header_bytes, names)
    gateway.sink = sink
    gateway.leases = Leases()
    gateway.callers = Callers()
    gateway.caches = Caches(answers)
    gateway.caches.use(policies)
    gateway.handle = lambda request: handle(request, gateway)
    gateway.facts = KnownFacts()
    gateway.forwarded_by = forwarded_by
    gateway.authenticator = Authenticator()
    chance = random.Random(secrets.randbits(128))  # noqa: S311 - spreads renewals over time
    around = Surroundings(time.monotonic, lambda: chance.getrandbits(CHANCE_BITS), lambda _one, _what, _fields: None)
    gateway.supply = Supply(Shelf(store), secrets.token_hex(8), around)
    gateway.new_id = new_ids()
    gateway.random_bits = random.Random(secrets.randbits(128)).getrandbits  # noqa: S311 - trace ids, no secrets
    if settings.traces.endpoint is not None:
        gateway.sampled_below = int(settings.traces.sample * ALL_SAMPLED)
    gateway.clock = time.monotonic
    gateway.wall_clock = time.time
    gateway.dates = DateLine()
    gateway.waits = Waits()
    gateway.pacing = Pacing(gateway.waits)
    gateway.sleep = gateway.waits.sleep
    _tell_nobody(gateway)
    return gateway


def _tell_nobody(gateway: Gateway) -> None:
    """What the stages tell is heard by nobody before `join`."""
    gateway.on_fallback = lambda _ask, _down: None
    gateway.on_retry = lambda _upstream, _reason, _outcome: None
    gateway.on_stop = lambda _record, _retry, _stop: None
    gateway.on_checked = lambda _record: None
    gateway.on_crash = lambda _crash, _record: None


def build_listener(
    gateway: Gateway, certificates: Certificates | None = None, intake: Intake | None = None
) -> Listener:
    """The callers' side, joined to the life of a call. `certificates` can renew its certificate later.

    intake  takes webhooks in; None = whatever comes is a call
    """
    return Listener(
        gateway.settings.bounds,
        gateway.handle if intake is None else with_intake(gateway, intake),
        lambda connection, bad, to_head: handle_bad_head(connection, bad, gateway, to_head=to_head),
        tls=(certificates or Certificates()).context("calls", gateway.settings.listen.tls),
    )


def with_intake(gateway: Gateway, intake: Intake) -> Callable[[Request], Coroutine[Any, Any, None]]:
    """Calls, and webhooks below the intake's path."""

    def handle_or_receive(request: Request) -> Coroutine[Any, Any, None]:
        if request.head.target.startswith(intake.path):
            return receive(request, gateway, intake)
        return gateway.handle(request)

    return handle_or_receive


def build_outage(gateway: Gateway, worker: int, metrics: Metrics, siblings: Siblings) -> Outage:
    """What watches the gateway's store, and decides without it while it is away."""
    settings = gateway.settings
    return Outage(
        gateway.store,
        gateway.fallback,
        gateway.leases,
        Fleet(settings.workers, worker, settings.store.gateways),
        tell=partial(store_event, metrics),
        asks=gateway.callers.asks,
        use=partial(setattr, gateway, "store"),
        share=partial(siblings.tell_all, "store_left"),
    )


def build_eviction(gateway: Gateway, worker: int) -> Eviction:
    """What looks whether the store would forget counters: one worker does. The embedded store is set up by us."""
    looks = worker == 0 and gateway.store.kind == "redis"
    return Eviction(gateway.settings.store.url if looks else "", partial(notice, "store.evicts", "warning"))


def join(gateway: Gateway, metrics: Metrics, connections: Connections, siblings: Siblings, outage: Outage) -> None:
    """Who is told what of calls, and what other workers may ask for."""
    metrics.follow("gateway_cache_answers_total", gateway.caches.answers)
    metrics.follow("gateway_worker_messages_dropped_total", siblings.dropped)
    gateway.on_crash = crashed
    gateway.on_fallback = partial(_without_store, metrics, outage)
    gateway.breakers.on_change = partial(breaker_changed, metrics)
    gateway.pauses.on_pause = partial(upstream_paused, metrics)
    gateway.on_retry = metrics.on_retry
    gateway.on_stop = partial(gave_up, metrics)
    gateway.authenticator.on_event = authentication_event
    gateway.supply.around.tell = partial(token_event, metrics)
    gateway.on_checked = connections.emit
    siblings.on("forget_refusals", lambda _: gateway.callers.forget_refusals())
    siblings.on("purge_cache", gateway.caches.purged)
    siblings.on("cache_sizes", lambda _: gateway.caches.sizes())


def _without_store(metrics: Metrics, outage: Outage, ask: Ask, down: StoreDown) -> None:
    metrics.on_fallback(ask.charges)
    outage.could_not(ask, down)
