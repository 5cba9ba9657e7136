"""Events on their way into the durable queues of those who want them.

While the store is away events wait in this process, so many at most; `store.degraded` is one of them. Once an event is
in the queues it is no longer this process's: any worker of any gateway delivers it.
"""

import asyncio
import secrets
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from gateway.core.webhooks.receivers import TEST_EVENT, TOLD, Subscription
from gateway.lasting import lasting
from gateway.observe.log.encode import encode
from gateway.store import StoreDown
from gateway.store.shared.queues import MARKS_FIELD, REPLAYED, Appended, Letter, Office, Taken, short
from gateway.waiting import end

MOST_HELD = 10_000
AGAIN_S = 0.5
SEEN_MS = 600_000
"""An event whose way into the store was not confirmed is sent again; within this time it is known there."""
_TOLD = frozenset(TOLD)
_NOT_DATA = frozenset(
    {"timestamp", "event_name", "schema", "service_name", "service_version", "instance", "worker", "connection"}
)


class _Held(NamedTuple):
    letter: Letter
    to: Sequence[str]


class Outbox:
    """Takes the events that this worker tells to the queues of their subscribers.

    on_stored   told that these queues have more
    on_dropped  told of each event that a receiver will not get: (receiver, reason)
    """

    def __init__(
        self,
        office: Office,
        subscriptions: Sequence[Subscription],
        most_waiting: int,
        *,
        on_stored: Callable[[Sequence[str]], None],
        on_dropped: Callable[[str, str], None],
        most_held: int = MOST_HELD,
    ) -> None:
        self._office = office
        self._subscriptions = subscriptions
        self._most_waiting = most_waiting
        self._on_stored = on_stored
        self._on_dropped = on_dropped
        self._most_held = most_held
        self._held: deque[_Held] = deque()
        self._storing: asyncio.Task[None] | None = None

    def hear(self, line: Mapping[str, Any]) -> None:
        """Something has happened: an event of the log."""
        name = line["event_name"]
        if name not in _TOLD or name == TEST_EVENT:
            return
        connection = line.get("connection")
        to = [one.name for one in self._subscriptions if one.wants(name, connection)]
        if len(self._held) >= self._most_held:
            for receiver in to:
                self._on_dropped(receiver, "store_away")
        elif to:
            self._held.append(_Held(letter_of(line), to))
            if self._storing is None:
                self._storing = lasting("webhooks outbox", self._store)

    async def test(self, receiver: str, line: Mapping[str, Any]) -> str:
        """Send this receiver an event made for it, whatever it subscribed to. The id; "" = its queue is full. Raises
        StoreDown, also when what is in the queue's place is none."""
        held = _Held(letter_of({**line, "event_name": TEST_EVENT}), [receiver])
        appended = await self._append(held)
        self._stored(held, appended)
        if appended.broken:
            raise StoreDown("script", f"what is in the place of the queue of {receiver} is no queue")
        return "" if appended.full else held.letter.id

    async def close(self, grace_s: float = 1.0) -> None:
        """Store what is held, as far as the store takes it soon; the rest is lost, and told. Idempotent."""
        storing = self._storing
        if storing is not None:
            await asyncio.wait((storing,), timeout=grace_s)
            await end(storing)
        for held in self._held:
            for receiver in held.to:
                self._on_dropped(receiver, "gateway_ended")
        self._held.clear()

    async def _store(self) -> None:
        """In the order in which things happened."""
        while self._held:
            held = self._held[0]
            try:
                appended = await self._append(held)
            except StoreDown:
                await asyncio.sleep(AGAIN_S)
            except Exception:  # it would hold up all behind it
                self._held.popleft()
                for receiver in held.to:
                    self._on_dropped(receiver, "not_stored")
                raise
            else:
                self._held.popleft()
                self._stored(held, appended)
        self._storing = None

    async def _append(self, held: _Held) -> Appended:
        return await self._office.append(held.letter, held.to, seen_ms=SEEN_MS, most=self._most_waiting, every=False)

    def _stored(self, held: _Held, appended: Appended) -> None:
        for receiver in appended.full:
            self._on_dropped(receiver, "queue_full")
        for receiver in appended.broken:
            self._on_dropped(receiver, "queue_broken")
        self._on_stored(held.to)


def letter_of(line: Mapping[str, Any]) -> Letter:
    """An event as it is told. Its number among those of its connection is known only when it is stored."""
    connection = str(line.get("connection") or "")
    body = {
        "id": f"evt_{secrets.token_hex(12)}",
        "type": line["event_name"],
        "timestamp": line["timestamp"],
        "connection": connection or None,
        "gateway": line.get("instance"),
        "data": {name: value for name, value in line.items() if name not in _NOT_DATA},
    }
    return Letter(f"{body['id']}", encode(body).rstrip(), about=short(connection))


def compose(taken: Taken) -> tuple[bytes, Mapping[str, str]]:
    """What a receiver gets. Raises ValueError for what is no event of ours."""
    body = orjson.loads(taken.body)
    if not isinstance(body, dict):
        raise ValueError("not an event")
    fields = {"Content-Type": "application/json", **({MARKS_FIELD: REPLAYED} if "r" in taken.marks else {})}
    return orjson.dumps({**body, "sequence": taken.sequence}), fields
