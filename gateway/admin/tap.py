"""What one worker passes on to those who listen to the stream, wherever in the gateway they are connected.

Nobody listens: nothing is done, not even looked at. Somebody does: of each tenth of a second at most MOST_WAITING lines
go to each listener, in one message; the rest is counted, and told.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from gateway.observe.access import AccessLog
from gateway.observe.batch import Batch
from gateway.observe.encode import encode
from gateway.observe.events import ACCESS
from gateway.record import CallRecord
from gateway.siblings import Siblings

EVERY_S = 0.1
MOST_WAITING = 200
MOST_BYTES = 256 * 1024
LEASE_S = 10.0
"""A listener that is not heard of for so long is gone, and so is the worker that it was connected to."""
LIMITED = frozenset({"limited", "shadow_limited", "held"})


class Wanted(NamedTuple):
    """What a listener wants to hear.

    events  names; `breaker.*` all that begin so; () = all
    most    lines in a message; what is more is only counted
    ticks   a message every so many times EVERY_S
    """

    events: tuple[str, ...] = ()
    limited: bool = False
    tenant: str | None = None
    connection: str | None = None
    most: int = MOST_WAITING
    ticks: int = 1

    def takes_event(self, name: str, fields: Mapping[str, Any]) -> bool:
        """Whether it wants this event."""
        if self.limited or not self._about(fields.get("tenant"), fields.get("connection")):
            return False
        return self._named(name)

    def takes_call(self, record: CallRecord) -> bool:
        """Whether it wants this call; if it wants calls at all."""
        if self.limited and record.verdict not in LIMITED:
            return False
        return self._about(record.tenant, record.connection)

    def calls_of(self, records: Sequence[CallRecord]) -> Sequence[CallRecord]:
        """Those it wants. Who wants all is asked about none: most of them wait for nothing but to be counted."""
        if not self.limited and self.tenant is None and self.connection is None:
            return records
        return [record for record in records if self.takes_call(record)]

    def _about(self, tenant: Any, connection: Any) -> bool:
        return self.tenant in (None, tenant) and self.connection in (None, connection)

    @property
    def wants_calls(self) -> bool:
        """Whether it wants any calls."""
        return self._named(ACCESS)

    def _named(self, name: str) -> bool:
        return not self.events or any(
            name.startswith(one[:-1]) if one.endswith("*") else name == one for one in self.events
        )


class _Listener:
    """One of them. `home` is the worker it is connected to."""

    def __init__(self, home: int, wanted: Wanted) -> None:
        self.home = home
        self.wanted = wanted
        self.wants_calls = wanted.wants_calls
        self.lines: list[str] = []
        self.size = self.dropped = 0
        self.heard_of_s = 0.0

    def add(self, line: bytes) -> None:
        self.size += len(line)
        self.lines.append(line.decode("utf-8", "replace").rstrip())

    def full(self) -> bool:
        return len(self.lines) >= self.wanted.most or self.size >= MOST_BYTES


class Tap:
    """Of one worker."""

    def __init__(self, siblings: Siblings, batch: Batch, access: AccessLog) -> None:
        self._siblings = siblings
        self._batch = batch
        self._access = access
        self._listeners: dict[str, _Listener] = {}
        self._ticks = 0
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        siblings.on("stream.listen", self._listen)
        siblings.on("stream.end", lambda told: self._end(told["id"]))

    def take(self, records: Sequence[CallRecord]) -> None:
        """Calls that have ended."""
        lines: dict[int, bytes] = {}
        for listener in self._listeners.values():
            if listener.wants_calls:
                self._pass_on(listener, listener.wanted.calls_of(records), lines)

    def _pass_on(self, listener: _Listener, records: Sequence[CallRecord], lines: dict[int, bytes]) -> None:
        """As many as it has room for. `lines`: those that are written already, by the identity of their record."""
        for at, record in enumerate(records):
            if listener.full():
                listener.dropped += len(records) - at
                return
            line = lines.get(id(record)) or encode(self._access.document(record))
            lines[id(record)] = line
            listener.add(line)

    def hear(self, line: Mapping[str, Any]) -> None:
        """Something has happened that is not a call."""
        for listener in self._listeners.values():
            if listener.wanted.takes_event(line["event_name"], line):
                if listener.full():
                    listener.dropped += 1
                else:
                    listener.add(encode(dict(line)))

    def _listen(self, told: dict[str, Any]) -> None:
        known = self._listeners.get(told["id"])
        if known is None:
            wanted = Wanted(
                tuple(told["events"]), told["limited"], told["tenant"], told["connection"], told["most"], told["ticks"]
            )
            known = self._listeners[told["id"]] = _Listener(told["home"], wanted)
            self._attach()
        known.heard_of_s = self._loop.time()
        if self._timer is None:
            self._timer = self._loop.call_later(EVERY_S, self._send)

    def _end(self, name: str) -> None:
        if self._listeners.pop(name, None) is not None:
            self._attach()

    def _attach(self) -> None:
        """Take calls only while somebody wants them."""
        others: tuple[Callable[[Sequence[CallRecord]], None], ...] = tuple(
            taker for taker in self._batch.takers if taker != self.take
        )
        wanted = any(listener.wants_calls for listener in self._listeners.values())
        self._batch.takers = (*others, self.take) if wanted else others

    def _send(self) -> None:
        self._timer = None
        self._ticks += 1
        for name, listener in tuple(self._listeners.items()):
            if listener.heard_of_s < self._loop.time() - LEASE_S:
                self._end(name)
            elif (listener.lines or listener.dropped) and self._ticks % listener.wanted.ticks == 0:
                message = {"id": name, "lines": listener.lines, "dropped": listener.dropped}
                listener.lines, listener.size, listener.dropped = [], 0, 0
                self._siblings.tell(listener.home, "stream.lines", message)
        if self._listeners:
            self._timer = self._loop.call_later(EVERY_S, self._send)
