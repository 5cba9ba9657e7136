"""What is known about connections: in Redis, so that every worker of every gateway gives the same answer, or in memory.

Reading and reporting cost no quota and are never on a call's way.
"""

import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from gateway.core.connections.names import name_of
from gateway.core.connections.state import (
    ConnectionState,
    Named,
    Report,
    Status,
    Track,
    Transition,
    ends_by_itself_us,
    new_track,
    reported,
    settled,
)
from gateway.core.units import DAY_US
from gateway.store import Store, StoreDown
from gateway.store.open import Scripted
from gateway.store.scripts.statuses import (
    LETTERS,
    STATUS,
    Page,
    beginning_of,
    decode_page,
    decode_states,
    decode_status,
    decode_transitions,
    encode_find,
    encode_page,
    encode_reports,
    member_of,
)

RETENTION_US = 7 * DAY_US
MOST = 20_000
PIECE = 100
"""Connections that one run of the script reads: it takes a millisecond, in which nothing else is decided."""

OnTransition = Callable[[Transition], None]


class Statuses(Protocol):
    """`find` and `page` raise StoreDown and nothing else when the store fails."""

    @property
    def up(self) -> bool:
        """Whether the store answers."""

    async def report(self, reports: Sequence[tuple[Named, Report]]) -> Sequence[ConnectionState]:
        """Take reports in, each about another connection; their states now. Also lets time do its part.

        () when the store does not answer: the reports are lost then. They are told for people, nothing is charged.
        """

    async def find(self, connection: str, tenant: str | None = None) -> Sequence[Status]:
        """All connections of this name, of one tenant ("" = none was known) or of all. Sixteen at most of a state."""

    async def page(self, states: Sequence[ConnectionState], after: str, count: int) -> Page:
        """At most `count` connections in one of these states, after `Page.after` of the page before ("" = first)."""


async def known_as(statuses: Statuses, connection: str) -> Sequence[Status]:
    """All connections that calls have named so, as `find` gives them; none while the store is away."""
    try:
        return await statuses.find(name_of("", connection).connection)
    except StoreDown:
        return ()


def open_statuses(store: Store, on_transition: OnTransition) -> Statuses:
    """Statuses live where the counters live.

    on_transition  told of each change of a state, once in the whole fleet: by whoever's request made it show
    """
    if isinstance(store, Scripted):
        return RedisStatuses(store, on_transition)
    return LocalStatuses(on_transition)


class RedisStatuses:
    """`Statuses` over the links of the store. now_us: 0 = the server's clock; anything else is for tests."""

    def __init__(self, store: Scripted, on_transition: OnTransition) -> None:
        self._on_transition = on_transition
        self.now_us = 0
        self._store = store

    @property
    def up(self) -> bool:
        return self._store.up

    async def report(self, reports: Sequence[tuple[Named, Report]]) -> Sequence[ConnectionState]:
        try:
            _, body = await self._run(encode_reports(reports, self._store.key_prefix, now_us=self.now_us))
        except StoreDown:
            return ()
        return decode_states(body)

    async def find(self, connection: str, tenant: str | None = None) -> Sequence[Status]:
        beginning = beginning_of(connection, tenant)
        now_us, body = await self._run(encode_find(beginning, self._store.key_prefix, now_us=self.now_us))
        return _by_name([_settled(decode_status(flat), now_us) for flat in body])

    async def page(self, states: Sequence[ConnectionState], after: str, count: int) -> Page:
        """In pieces, so that decisions about calls get their turn between them."""
        found: list[Status] = []
        while True:
            size = min(PIECE, count - len(found))
            _, body = await self._run(encode_page(states, after, size, self._store.key_prefix, now_us=self.now_us))
            piece = decode_page(body, size)
            found += piece.statuses
            after = piece.after
            if not after or len(found) >= count:
                return Page(tuple(found), after)

    async def _run(self, arguments: Sequence[Any]) -> tuple[int, Any]:
        now_us, transitions, body = await self._store.run(STATUS, arguments)
        for transition in decode_transitions(transitions):
            self._on_transition(transition)
        return now_us, body


def wall_clock_us() -> int:
    """Microseconds since the epoch."""
    return time.time_ns() // 1000


class LocalStatuses:
    """`Statuses` of this process alone, for a store that is in this process alone."""

    up = True

    def __init__(
        self, on_transition: OnTransition, *, clock: Callable[[], int] = wall_clock_us, most: int = MOST
    ) -> None:
        self._on_transition = on_transition
        self._clock = clock
        self._most = most
        self._known: dict[str, tuple[int, Status]] = {}  # by member: when last reported, in that order
        self._restless: set[str] = set()  # those whose state ends by itself

    async def report(self, reports: Sequence[tuple[Named, Report]]) -> Sequence[ConnectionState]:
        now_us = self._clock()
        self._let_time_pass(now_us)
        states = [self._take(named, report, now_us) for named, report in reports]
        while len(self._known) > self._most:
            self._forget_oldest()
        return states

    async def find(self, connection: str, tenant: str | None = None) -> Sequence[Status]:
        now_us = self._clock()
        self._let_time_pass(now_us)
        beginning = beginning_of(connection, tenant)
        found = [status for member, (_, status) in self._known.items() if member.startswith(beginning)]
        return _by_name([_settled(status, now_us) for status in found])

    async def page(self, states: Sequence[ConnectionState], after: str, count: int) -> Page:
        now_us = self._clock()
        self._let_time_pass(now_us)
        named = [(LETTERS[status.track.state] + member, status) for member, (_, status) in self._known.items()]
        entries = sorted((entry for entry in named if entry[1].track.state in states), key=_first)
        begin = bisect_right(entries, after, key=_first)
        shown_ = entries[begin : begin + count]
        more = shown_[-1][0] if len(shown_) == count else ""
        return Page(tuple(status for _, status in shown_), more)

    def _take(self, named: Named, report: Report, now_us: int) -> ConnectionState:
        member = member_of(named)
        known = self._known.pop(member, None)
        before = known[1].track if known else new_track(now_us)
        self._keep(member, now_us, named, before, reported(before, report, now_us))
        return self._known[member][1].track.state

    def _let_time_pass(self, now_us: int) -> None:
        for member in [*self._restless]:
            at_us, (named, track) = self._known[member]
            self._keep(member, at_us, named, track, settled(track, now_us))
        while self._known and self._oldest()[1] < now_us - RETENTION_US:
            self._forget_oldest()

    def _keep(self, member: str, at_us: int, named: Named, before: Track, after: Track) -> None:
        status = Status(named, after)
        self._known[member] = (at_us, status)
        (self._restless.add if ends_by_itself_us(after) >= 0 else self._restless.discard)(member)
        if after.state is not before.state:
            self._on_transition(Transition(before.state, before.since_us, status))

    def _oldest(self) -> tuple[str, int]:
        member = next(iter(self._known))
        return member, self._known[member][0]

    def _forget_oldest(self) -> None:
        member, _ = self._oldest()
        del self._known[member]
        self._restless.discard(member)


def _first(entry: tuple[str, Status]) -> str:
    return entry[0]


def _by_name(statuses: list[Status]) -> Sequence[Status]:
    return sorted(statuses, key=lambda status: status.named)


def _settled(status: Status, now_us: int) -> Status:
    return status._replace(track=settled(status.track, now_us))
