"""What one worker passes on to those who listen to the stream, wherever in the gateway they are connected.

Nobody listens: nothing is done, not even looked at. Somebody does: of each tenth of a second at most MOST_WAITING lines
go to each listener, in one message; the rest is counted, and told.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gateway.admin.watching.listening import Choice, Circle, Listener, Wanted
from gateway.observe.batch import Batch
from gateway.observe.log.access import AccessLog
from gateway.observe.log.encode import encode
from gateway.record import CallRecord
from gateway.siblings import Siblings

EVERY_S = 0.1
LEASE_S = 10.0
"""A listener that is not heard of for so long is gone, and so is the worker that it was connected to."""


class Tap:
    """Calls and events of one worker on their way to whoever listens, this worker's listeners or siblings'."""

    def __init__(self, siblings: Siblings, batch: Batch, access: AccessLog) -> None:
        self._siblings = siblings
        self._batch = batch
        self._access = access
        self._listeners: dict[str, Listener] = {}
        self._circles: dict[Choice, Circle] = {}
        self._ticks = 0
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        siblings.on("stream.listen", self._listen)
        siblings.on("stream.end", lambda told: self._end(told["id"]))

    def take(self, records: Sequence[CallRecord]) -> None:
        """Take calls that have ended and give listeners the lines of those that they want."""
        lines: dict[int, bytes] = {}

        def line(record: CallRecord) -> bytes:
            known = lines.get(id(record))
            if known is None:
                known = lines[id(record)] = encode(self._access.document(record))
            return known

        for circle in self._circles.values():
            circle.take(records, line)

    def hear(self, line: Mapping[str, Any]) -> None:
        """Something has happened that is not a call."""
        for listener in self._listeners.values():
            if listener.wanted.takes_event(line["event_name"], line):
                listener.add(encode(dict(line)))

    def _listen(self, told: dict[str, Any]) -> None:
        known = self._listeners.get(told["id"])
        if known is None:
            wanted = Wanted(
                tuple(told["events"]), told["limited"], told["tenant"], told["connection"], told["most"], told["ticks"]
            )
            known = self._listeners[told["id"]] = Listener(told["home"], wanted)
            if known.wants_calls:
                self._circles.setdefault(wanted.choice, Circle(wanted)).open.append(known)
            self._attach()
        known.heard_of_s = self._loop.time()
        if self._timer is None:
            self._timer = self._loop.call_later(EVERY_S, self._send)

    def _end(self, name: str) -> None:
        gone = self._listeners.pop(name, None)
        if gone is None:
            return
        circle = self._circles.get(gone.wanted.choice)
        if circle is not None:
            circle.leave(gone)
            if not circle:
                del self._circles[gone.wanted.choice]
        self._attach()

    def _attach(self) -> None:
        """Take calls only while somebody wants them."""
        others: tuple[Callable[[Sequence[CallRecord]], None], ...] = tuple(
            taker for taker in self._batch.takers if taker != self.take
        )
        self._batch.takers = (*others, self.take) if self._circles else others

    def _send(self) -> None:
        self._timer = None
        self._ticks += 1
        for name, listener in tuple(self._listeners.items()):
            if listener.heard_of_s < self._loop.time() - LEASE_S:
                self._end(name)
            elif self._ticks % listener.wanted.ticks == 0:
                self._tell(name, listener)
        if self._listeners:
            self._timer = self._loop.call_later(EVERY_S, self._send)

    def _tell(self, name: str, listener: Listener) -> None:
        circle = self._circles.get(listener.wanted.choice)
        if circle is not None:
            circle.settle(listener)
        lines, dropped = listener.taken()
        if lines or dropped:
            self._siblings.tell(listener.home, "stream.lines", {"id": name, "lines": lines, "dropped": dropped})
