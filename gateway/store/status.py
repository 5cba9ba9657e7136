"""What is known about connections: in Redis, so that every worker of every gateway gives the same answer, or in memory.

Reading and reporting cost no quota and are never on a call's way.
"""

import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from gateway.core.connection_state import ConnectionState, Report, Track, new_track, reported, settled
from gateway.store import Store
from gateway.store.redis import RedisStore
from gateway.store.status_wire import (
    LETTERS,
    STATUS,
    Named,
    Page,
    Status,
    Transition,
    beginning_of,
    decode_page,
    decode_states,
    decode_status,
    decode_transitions,
    encode_find,
    encode_page,
    encode_reports,
    member_of,
    shown,
)

RETENTION_US = 7 * 24 * 3600 * 1_000_000
MOST = 20_000

OnTransition = Callable[[Transition], None]


class Statuses(Protocol):
    """Every method that awaits raises StoreDown and nothing else when the store fails.

    on_transition  told of each change of a state, once in the whole fleet: by whoever's request made it show
    """

    on_transition: OnTransition

    @property
    def up(self) -> bool:
        """Whether the store answers."""

    async def report(self, reports: Sequence[tuple[Named, Report]]) -> Sequence[ConnectionState]:
        """Take reports in, each about another connection; their states now. Also lets time do its part."""

    async def find(self, connection: str, tenant: str | None = None) -> Sequence[Status]:
        """All connections of this name, of one tenant ("" = none was known) or of all. Sixteen at most of a state."""

    async def page(self, states: Sequence[ConnectionState], after: str, count: int) -> Page:
        """At most `count` connections in one of these states, after `Page.after` of the page before ("" = first)."""


def open_statuses(store: Store, on_transition: OnTransition) -> Statuses:
    """Statuses live where the counters live."""
    return RedisStatuses(store, on_transition) if isinstance(store, RedisStore) else LocalStatuses(on_transition)


class RedisStatuses:
    """`Statuses` on the link of a RedisStore. now_us: 0 = the server's clock; anything else is for tests."""

    def __init__(self, store: RedisStore, on_transition: OnTransition, *, now_us: int = 0) -> None:
        self.on_transition = on_transition
        self.now_us = now_us
        self._store = store

    @property
    def up(self) -> bool:
        return self._store.up

    async def report(self, reports: Sequence[tuple[Named, Report]]) -> Sequence[ConnectionState]:
        _, body = await self._run(encode_reports(reports, self._store.key_prefix, now_us=self.now_us))
        return decode_states(body)

    async def find(self, connection: str, tenant: str | None = None) -> Sequence[Status]:
        beginning = beginning_of(connection, tenant)
        now_us, body = await self._run(encode_find(beginning, self._store.key_prefix, now_us=self.now_us))
        return _by_name([_settled(decode_status(flat), now_us) for flat in body])

    async def page(self, states: Sequence[ConnectionState], after: str, count: int) -> Page:
        prefix = self._store.key_prefix
        now_us, body = await self._run(encode_page(states, after, count, prefix, now_us=self.now_us))
        return decode_page(now_us, body, count)

    async def _run(self, arguments: Sequence[Any]) -> tuple[int, Any]:
        now_us, transitions, body = await self._store.run(STATUS, arguments)
        for transition in decode_transitions(transitions):
            self.on_transition(transition)
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
        self.on_transition = on_transition
        self._clock = clock
        self._most = most
        self._known: dict[str, tuple[int, Status]] = {}  # by member: when last reported, in that order

    async def report(self, reports: Sequence[tuple[Named, Report]]) -> Sequence[ConnectionState]:
        now_us = self._clock()
        self._let_time_pass(now_us)
        states = [self._take(named, report, now_us) for named, report in reports]
        while len(self._known) > self._most:
            del self._known[next(iter(self._known))]
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
        return Page(now_us, tuple(status for _, status in shown_), more)

    def _take(self, named: Named, report: Report, now_us: int) -> ConnectionState:
        member = member_of(named)
        known = self._known.pop(member, None)
        before = known[1].track if known else new_track(now_us)
        texts = Named(shown(named.tenant), shown(named.connection))
        status = self._changed(texts, before, reported(before, report, now_us))
        self._known[member] = (now_us, status)
        return status.track.state

    def _let_time_pass(self, now_us: int) -> None:
        for member, (at_us, (named, track)) in list(self._known.items()):
            if at_us < now_us - RETENTION_US:
                del self._known[member]
            elif track.state in (ConnectionState.RATE_LIMITED, ConnectionState.DEGRADED):
                self._known[member] = (at_us, self._changed(named, track, settled(track, now_us)))

    def _changed(self, named: Named, before: Track, after: Track) -> Status:
        status = Status(named, after)
        if after.state is not before.state:
            self.on_transition(Transition(before.state, before.since_us, status))
        return status


def _first(entry: tuple[str, Status]) -> str:
    return entry[0]


def _by_name(statuses: list[Status]) -> Sequence[Status]:
    return sorted(statuses, key=lambda status: status.named)


def _settled(status: Status, now_us: int) -> Status:
    return status._replace(track=settled(status.track, now_us))
