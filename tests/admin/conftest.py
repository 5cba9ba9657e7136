"""An admin listener on a real socket, over a worker that only has what the admin listener looks at."""

import math
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import aiohttp
import pytest

from gateway.admin.lookout import Lookout
from gateway.admin.server import AdminServer
from gateway.admin.view import Check
from gateway.admin.watching.switching import Switches
from gateway.core.access.authentication import NO_CREDENTIALS, Denied, Headers, Identity, Scheme
from gateway.core.ask import Ask
from gateway.core.guards import Change, Guard
from gateway.core.limits import Algorithm, Charge, Limit, Override
from gateway.core.policy import Match, PolicySet, Route
from gateway.core.upstream import Upstream
from gateway.observe.batch import Batch
from gateway.observe.log.access import AccessLog
from gateway.observe.log.logger import close_logging, configure_logging
from gateway.observe.metrics.pulse import Pulse
from gateway.observe.metrics.sink import Metrics
from gateway.observe.metrics.totals import Totals
from gateway.policy.settings_file import load_settings
from gateway.reload.outcome import Outcome
from gateway.settings import Listen, Logging, Settings
from gateway.siblings import Siblings
from gateway.store import Store
from gateway.store.local.store import LocalStore
from gateway.store.redis import RedisStore
from gateway.store.shared.status import LocalStatuses, RedisStatuses, Statuses
from tests.fakes.stores import patient, started

MINUTE_US = 60_000_000


class Countdown:
    """What may be left of times that begin now or later, however long the machine takes meanwhile."""

    def __init__(self) -> None:
        self._began_s = time.monotonic()

    def fits(self, left_s: float, whole_s: int) -> bool:
        """Also when it was rounded down to a second."""
        return math.floor(whole_s - (time.monotonic() - self._began_s)) <= left_s <= whole_s


GENEROUS = Limit("tenant-10m", Algorithm.ROLLING_WINDOW, 5_000, 10 * MINUTE_US, ("tenant",), source="p.yaml:9")
TRIAL = Limit("tenant-trial", Algorithm.FIXED_WINDOW, 10, MINUTE_US, ("tenant",), source="p.yaml:12")
WINDOW = Limit(
    "tenant-10m",
    Algorithm.ROLLING_WINDOW,
    500,
    10 * MINUTE_US,
    ("tenant",),
    overrides=(Override((("tenant", "bigcorp"),), GENEROUS),),
    shadow=TRIAL,
    source="p.yaml:7",
)
BUCKET = Limit(
    "connection-1m", Algorithm.TOKEN_BUCKET, 20, MINUTE_US, ("tenant", "connection"), 1, 3_000_000, source="p.yaml:15"
)
EVERYBODY = Limit("everybody", Algorithm.ROLLING_WINDOW, 3, MINUTE_US, (), source="p.yaml:20")
UPSTREAM = Upstream("erp-api", "https", "erp.example", 443, "erp.example", "/v2", source="p.yaml:30")
ROUTE = Route("erp", Match(), UPSTREAM, (WINDOW, BUCKET), source="p.yaml:40")
POLICIES = PolicySet(
    "0123456789ab",
    (ROUTE,),
    {limit.name: limit for limit in (WINDOW, BUCKET, EVERYBODY)},
    {},
    {"erp-api": UPSTREAM},
    ("p.yaml",),
    "2026-11-21T05:30:00Z",
)


@dataclass
class FakeReloads:
    """Answers with `outcome` when it is asked to reload."""

    outcome: Outcome = field(
        default_factory=lambda: Outcome("unchanged", "0123456789ab", "admin", "2026-11-21T05:30:00Z")
    )
    last: Outcome | None = None

    async def ask(self, _why: str) -> Outcome:
        self.last = self.outcome
        return self.outcome


@dataclass
class FakeWorker:
    """The admin listener's view of a worker, every part of it up to the test."""

    settings: Settings
    store: Store
    statuses: Statuses = field(default_factory=lambda: LocalStatuses(lambda _: None))
    policies: PolicySet = POLICIES
    worker: int = 1
    siblings: Siblings = field(default_factory=lambda: Siblings(1))
    own_store: Store = field(default_factory=LocalStore)
    reload: "FakeReloads" = field(default_factory=lambda: FakeReloads())
    draining: bool = False
    hooks: Any = None
    failing: Mapping[str, str] = field(default_factory=dict)
    changes: list[tuple[Guard, Change]] = field(default_factory=list)
    levels: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.switches = Switches(self.siblings, "info", self.levels.append)

        self.batch = Batch(())
        self.lookout = Lookout(
            self.siblings,
            self.batch,
            AccessLog(Logging(access="off"), {}),
            Pulse(Totals()),
            lambda: {"in_flight": 0, "open_sockets": 0, "policy_version": self.policies.version},
        )

    async def forget_refusals(self) -> None:
        pass

    def store_status(self) -> Mapping[str, object]:
        return {"kind": "redis", "up": True}

    async def authenticate(self, schemes: Sequence[Scheme], headers: Headers) -> Identity | Denied:
        return NO_CREDENTIALS

    def breaker_changed(self, guard: Guard, change: Change) -> None:
        self.changes.append((guard, change))

    def checks(self) -> list[Check]:
        return [Check(name, name not in self.failing, self.failing.get(name, "")) for name in ("policies", "store")]

    async def render_metrics(self, accept: str) -> tuple[bytes, str]:
        metrics = Metrics(self.policies)
        metrics.pour()
        return metrics.text(accept)


@dataclass
class Admin:
    """A running admin listener and a client of it."""

    worker: FakeWorker
    client: aiohttp.ClientSession
    port: int

    async def ask(self, target: str, method: str = "GET", **options: Any) -> tuple[int, Any, Mapping[str, str]]:
        """(status, body, fields); a JSON body is decoded. `target` is sent as it is."""
        url = aiohttp.client.URL(f"http://127.0.0.1:{self.port}{target}", encoded=True)
        async with self.client.request(method, url, **options) as response:
            is_json = "json" in response.headers.get("Content-Type", "")
            body = await (response.json(content_type=None) if is_json else response.text())
            return response.status, body, response.headers

    async def spend(self, limit: Limit, key: str, units: int) -> None:
        """Take units from a counter, as calls would."""
        decision = await self.worker.store.admit(Ask((Charge(limit, key, units),)), "")
        assert decision.admitted


StartAdmin = Callable[..., Awaitable[Admin]]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Audit events would appear in the middle of pytest's own lines; tests that look at them configure anew."""
    configure_logging(Logging(level="error", pretty=False), {})
    yield
    close_logging()


@pytest.fixture
async def store(redis_url: str, redis_client: object) -> AsyncIterator[RedisStore]:
    """A store on the shared server, emptied (by `redis_client`). A slow machine must not make it look lost."""
    async with started(patient(redis_url)) as store:
        yield store


@pytest.fixture
async def start_admin(store: RedisStore) -> AsyncIterator[StartAdmin]:
    """Function that starts an admin listener on a free port; `start_admin(admin_token="...")` changes settings."""
    open_: list[tuple[AdminServer, aiohttp.ClientSession]] = []

    async def start(**changes: Any) -> Admin:
        settings = replace(load_settings(None, {}, {"store.url": "redis://user:s3cret@127.0.0.1:1"}), **changes)
        listening = socket.create_server(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        settings = replace(settings, admin=replace(settings.admin or Listen("", 0), port=port))
        worker = FakeWorker(settings, store, RedisStatuses(store, lambda _: None))
        server = AdminServer(worker)
        await server.start(listening)
        client = aiohttp.ClientSession()
        open_.append((server, client))
        return Admin(worker, client, port)

    yield start
    for server, client in open_:
        await client.close()
        await server.close()


@pytest.fixture
async def admin(start_admin: StartAdmin) -> Admin:
    return await start_admin()
