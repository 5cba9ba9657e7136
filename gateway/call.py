"""What the stages share: one `Call` per request, and the `Gateway` it runs in.

`Gateway` holds what the composition root (`app.py`) built; stages read it and never build anything themselves.
"""

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from gateway.callers import Callers
from gateway.core.ask import NOTHING, Ask
from gateway.core.headers import FieldWriter
from gateway.core.http.hop import Hop
from gateway.core.http.timestamps import DateLine
from gateway.core.limits import Decision
from gateway.core.policy import Operation, PolicySet, Route
from gateway.core.public_address import Network
from gateway.core.retry import Retry, Stop
from gateway.guards.breakers import Breakers
from gateway.guards.pacing import Pacing
from gateway.guards.passages import Passage
from gateway.guards.pauses import Pauses
from gateway.identity.authenticator import Authenticator
from gateway.leases import Leases
from gateway.listener.request import Request
from gateway.modules.cache.caches import Caches
from gateway.modules.credentials.supply import Supply
from gateway.record import CALLER, OWN, UNKNOWN, CallRecord, RecordSink
from gateway.settings import Settings
from gateway.store import Store, StoreDown
from gateway.store.outage.fallback import Fallback
from gateway.upstream.directory import Upstreams
from gateway.waiting import Waits
from gateway.wire.memo import Memo

if TYPE_CHECKING:
    from gateway.upload import Upload
    from gateway.upstream.exchange import Exchange
    from gateway.upstream.held import HeldAnswer

CUT_SLACK_S = 0.05
"""Calls that are cancelled so shortly before the grace of a drain is over were cut by it: timers may come early."""
MOST_FACTS = 2048
"""`Facts` that are remembered at most (`wire.memo`)."""

_OWN = {*OWN, *CALLER, "notes", "route"}
_SHARED = tuple(name for name in UNKNOWN if name not in _OWN)
_shared = itemgetter(*_SHARED, "route")

_Same = TypeVar("_Same", bound=tuple[Any, ...])
Forward = Callable[["Call", "Upload"], Awaitable["Exchange | HeldAnswer | None"]]
"""`forward`, or a module in its place: gives what has the upstream's answer, or None when it has answered itself."""


class Facts(NamedTuple):
    """What is known of calls that differ in nothing but who is calling, and on which route: one object for all of them.

    whole  every attribute of a record; the route and those of which each call or caller has its own are unknown
    found  those of them that are not unknown
    """

    whole: dict[str, Any]
    found: dict[str, Any]


NO_FACTS = Facts({}, {})


class KnownFacts:
    """The `Facts` that calls share.

    Callers are many, but there are few kinds of them: what each has of its own is kept with it, the rest here. A call
    reads what thousands of others have just read, so it is still in the processor's cache.
    """

    def __init__(self) -> None:
        self._known: Memo[tuple[Any, ...], tuple[Facts, dict[Any, Any]]] = Memo(MOST_FACTS)
        self._facts: Memo[tuple[Any, ...], Facts] = Memo(MOST_FACTS)
        self._keys: Memo[tuple[Any, ...], Any] = Memo(MOST_FACTS)

    def shared(self, record: CallRecord) -> tuple[Facts, dict[Any, Any]]:
        """What others share of what is known of a call; and the notes (`CallRecord`) of those on the same route. Its
        record was begun with `UNKNOWN`."""
        key = _shared(vars(record))
        known = self._known.young.get(key) or self._known.recall(key)
        if known is None:
            known = self._found(key[:-1]), {}
            self._known.remember(key, known)
        return known

    def _found(self, key: tuple[Any, ...]) -> Facts:
        known = self._facts.young.get(key) or self._facts.recall(key)
        if known is None:
            found = {name: value for name, value in zip(_SHARED, key, strict=True) if value is not UNKNOWN[name]}
            known = Facts(UNKNOWN | found, found)
            self._facts.remember(key, known)
        return known

    def same(self, one: _Same) -> _Same:
        """One and the same object for thousands that are equal, and of one type."""
        known: _Same | None = self._keys.young.get(one) or self._keys.recall(one)
        if known is None:
            self._keys.remember(one, one)
        return known or one


class Gateway:
    """One worker's parts. `policies` is replaced whole by a reload; a call keeps the set it began with.

    forwarded_by   what the admitted calls of a route are given to
    calls          those that are not over
    clock          monotonic seconds; wall_clock: epoch seconds
    cut_at         when a drain's grace is over: calls that end from then on were cut by us
    new_id         a text that no other call on any gateway has
    reported_from  status from which on an upstream's answer is told of in fields of ours
    sampled_below  share of the traces begun here that are recorded (`core.http.trace`)
    sleep          waits between attempts; what a drain leaves no time for ends early, by `waits`
    handle         the life of a call, for a request that no caller waits for
    on_fallback    told of every decision made without the store
    on_retry       told of every attempt behind the first: upstream, why there was one, what came of it
    on_stop        told when a call was not (or no longer) tried again, although its policy lists what happened
    on_checked     told what came of a connection's test
    on_crash       told of exceptions that no stage should have let through
    """

    settings: Settings
    policies: PolicySet
    store: Store
    fallback: Fallback
    upstreams: Upstreams
    sink: RecordSink
    dates: DateLine
    fields: FieldWriter
    hop: Hop
    leases: Leases
    callers: Callers
    facts: KnownFacts
    breakers: Breakers
    caches: Caches
    authenticator: Authenticator
    pacing: Pacing
    pauses: Pauses
    supply: Supply
    trusted_proxies: Sequence[Network]
    calls: "set[Call]"
    reported_from: int
    sampled_below: int = 0
    cut_at: float = float("inf")
    forwarded_by: Callable[[Route], "Forward"]
    new_id: Callable[[], str]
    random_bits: Callable[[int], int]
    clock: Callable[[], float]
    wall_clock: Callable[[], float]
    waits: Waits
    sleep: Callable[[float], Awaitable[None]]
    handle: Callable[[Request], Coroutine[Any, Any, None]]
    on_fallback: Callable[[Ask, StoreDown], None]
    on_retry: Callable[[str, str, str], None]
    on_stop: Callable[[CallRecord, Retry, Stop], None]
    on_checked: Callable[[CallRecord], None]
    on_crash: Callable[[BaseException, CallRecord], None]

    @property
    def cutting(self) -> bool:
        """Whether calls that end now do so because a drain's grace is over."""
        return self.clock() >= self.cut_at - CUT_SLACK_S

    @property
    def in_flight(self) -> int:
        """How many calls are not over."""
        return len(self.calls)

    def now_us(self) -> int:
        """The wall clock in microseconds."""
        return int(self.wall_clock() * 1e6)


class Alike:
    """What calls with the same fields from the same peer on the same route have in common, worked out by `identify`.

    policies         the set that it was worked out with; another set makes it worthless
    facts            what is known of such a call's record
    forward          what they are given to when they are admitted
    pool             of sockets to the route's upstream
    upstream_fields  of its head for the upstream, without those that are each call's own; made by the first that is
                     forwarded, and so is `tracestate`: what goes with the caller's trace, if that is continued
    """

    __slots__ = (
        "account", "ask", "connection", "facts", "forward", "notes", "operation", "peer_trusted", "policies", "pool",
        "route", "tenant", "tracestate", "upstream_fields",
    )  # fmt: skip

    def __init__(self, call: "Call", *, lends: bool) -> None:
        """`lends` False: this one call is identified for itself, and others are none the wiser."""
        record = call.record
        self.policies = call.policies
        self.facts: Facts = NO_FACTS
        self.notes: dict[Any, Any] | None = None
        if lends:
            self.facts, self.notes = call.gateway.facts.shared(record)
        self.tenant = record.tenant
        self.account = record.account
        self.connection = record.connection
        record.notes = self.notes
        self.peer_trusted = call.peer_trusted
        self.route = call.route
        self.operation = call.operation
        self.ask = call.ask
        self.forward = call.gateway.forwarded_by(call.route)
        self.pool = call.gateway.upstreams.pool(call.route.upstream)
        self.upstream_fields = b""
        self.tracestate = b""

    def begin(self, call: "Call") -> None:
        """Make a call one of these. Nothing has been written into its record yet."""
        call.record.__dict__ = self.facts.whole.copy()
        call.peer_trusted = self.peer_trusted
        self._join(call)

    def lend(self, call: "Call") -> None:
        """Make a call one of these, whatever its record says already."""
        vars(call.record).update(self.facts.found)
        self._join(call)

    def _join(self, call: "Call") -> None:
        call.alike = self
        call.route = self.route
        call.operation = self.operation
        call.ask = self.ask
        record = call.record
        record.route = self.route.name
        record.tenant = self.tenant
        record.account = self.account
        record.connection = self.connection
        record.notes = self.notes


class Call:
    """One call from accept to record. Each stage fills in what the later ones need.

    alike         what it has in common with others; None until `identify` has found out
    peer_trusted  whether the socket's peer is a trusted proxy
    forwarded_at  when the first attempt began
    target        what the upstream is asked for (raw)
    ask           what `admit` asks the store; `decision` is its answer
    lease         names the concurrency slots; "" when there are none to give back
    passage       through the breaker, which waits to hear how the call ended; None when none does
    """

    __slots__ = (
        "alike",
        "ask",
        "decision",
        "forwarded_at",
        "gateway",
        "lease",
        "operation",
        "passage",
        "peer_trusted",
        "policies",
        "record",
        "request",
        "route",
        "target",
    )

    route: Route
    operation: Operation | None

    def __init__(self, request: Request, gateway: Gateway, record: CallRecord) -> None:
        self.request = request
        self.gateway = gateway
        self.record = record
        self.alike: Alike | None = None
        self.policies = gateway.policies
        self.forwarded_at = 0.0
        self.peer_trusted = False
        self.target = request.head.target
        self.ask = NOTHING
        self.decision: Decision | None = None
        self.lease = ""
        self.passage: Passage | None = None

    @property
    def decided_here(self) -> bool:
        """Whether this worker decided in the store's place. Before any answer came, it did not."""
        return self.record.store == "local" and self.gateway.store.kind != "local"
