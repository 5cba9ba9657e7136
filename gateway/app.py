"""One worker, put together: the only place that builds objects and connects them. Start, serve, drain, stop."""

import asyncio
import itertools
import random
import secrets
import signal
import socket
import ssl
import time
from collections.abc import Callable, Mapping, Sequence

from gateway.call import Gateway
from gateway.core.client_address import networks
from gateway.core.headers import FieldWriter
from gateway.core.limits import Charge
from gateway.core.policy import PolicySet
from gateway.handle import handle, handle_bad_head
from gateway.hop import Hop
from gateway.leases import Leases
from gateway.listener.listener import Listener
from gateway.record import CallRecord, RecordSink
from gateway.settings import Settings, Tls
from gateway.store import Store, StoreDown
from gateway.store.fallback import Fallback
from gateway.store.local import LocalStore
from gateway.upstream.directory import Upstreams


def new_ids() -> Callable[[], str]:
    """Texts that no other process makes: 12 random hex digits of this process, then a counter. They sort by time."""
    prefix = secrets.token_hex(6)
    counter = itertools.count(1)
    return lambda: f"{prefix}{next(counter):08x}"


def build_gateway(settings: Settings, policies: PolicySet, store: Store, sinks: Sequence[RecordSink]) -> Gateway:
    """The parts that stages use, with nothing started yet. Needs a running event loop."""
    gateway = Gateway()
    gateway.settings = settings
    gateway.policies = policies
    gateway.store = store
    gateway.fallback = Fallback(LocalStore(), settings.workers)
    gateway.upstreams = Upstreams()
    gateway.sinks = sinks
    gateway.fields = FieldWriter(
        draft=settings.headers.ratelimit == "draft",
        legacy=settings.headers.legacy == "x-ratelimit",
        epoch_reset=settings.headers.legacy_reset == "epoch_seconds",
    )
    gateway.hop = Hop(settings)
    gateway.leases = Leases()
    gateway.trusted_proxies = networks(settings.trusted_proxies)
    gateway.new_id = new_ids()
    gateway.random_bits = random.Random(secrets.randbits(128)).getrandbits
    gateway.clock = time.monotonic
    gateway.wall_clock = time.time
    gateway.on_fallback = lambda _charges: None
    gateway.on_crash = lambda _crash, _record: None
    return gateway


def build_listener(gateway: Gateway) -> Listener:
    """The callers' side, joined to the life of a call."""
    return Listener(
        gateway.settings.bounds,
        lambda request: handle(request, gateway),
        lambda connection, bad: handle_bad_head(connection, bad, gateway),
        tls=server_tls(gateway.settings.listen.tls),
    )


def server_tls(tls: Tls | None) -> ssl.SSLContext | None:
    """TLS 1.2 or newer with the configured certificate. Raises OSError or ssl.SSLError for unusable files."""
    if tls is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(tls.certificate, tls.key)
    return context
