"""Who listens to the stream at one worker: what each wants, and what waits for it.

Listeners that want the same calls are looked at together, and those that have no room until their next message not at
all: however many there are, a call costs about what it costs for one.
"""

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

from gateway.observe.log.events import ACCESS
from gateway.record import CallRecord

MOST_WAITING = 200
MOST_BYTES = 256 * 1024
LIMITED = frozenset({"limited", "shadow_limited", "held"})
Choice = tuple[bool, str | None, str | None]
"""Of calls: only those that were limited; those of this tenant; of this connection."""
_verdict, _tenant, _connection = attrgetter("verdict"), attrgetter("tenant"), attrgetter("connection")


class Wanted(NamedTuple):
    """What a listener wants to hear.

    events  names; `breaker.*` all that begin so; () = all
    most    lines in a message; what is more is only counted
    ticks   a message every so many times `tap.EVERY_S`
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
        """Those it wants. Most turns have none of them, which is found out without a look at each."""
        if not self.limited and self.tenant is None and self.connection is None:
            return records
        if (
            (self.limited and LIMITED.isdisjoint(map(_verdict, records)))
            or (self.tenant is not None and self.tenant not in map(_tenant, records))
            or (self.connection is not None and self.connection not in map(_connection, records))
        ):
            return ()
        return [record for record in records if self.takes_call(record)]

    @property
    def choice(self) -> Choice:
        """Which calls are wanted; listeners with an equal choice share one circle."""
        return self.limited, self.tenant, self.connection

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


class Listener:
    """Somebody who listens, and what waits to be sent there. `home` is the worker that they are connected to."""

    def __init__(self, home: int, wanted: Wanted) -> None:
        self.home = home
        self.wanted = wanted
        self.wants_calls = wanted.wants_calls
        self.lines: list[str] = []
        self.size = self.dropped = 0
        self.heard_of_s = 0.0

    def add(self, line: bytes) -> None:
        """One more, if there is room; else it is counted."""
        if self.full():
            self.dropped += 1
        else:
            self.size += len(line)
            self.lines.append(line.decode("utf-8", "replace").rstrip())

    def full(self) -> bool:
        """Whether nothing more fits into the next message."""
        return len(self.lines) >= self.wanted.most or self.size >= MOST_BYTES

    def taken(self) -> tuple[list[str], int]:
        """What waits, and how much more there was; there is room again."""
        lines, dropped = self.lines, self.dropped
        self.lines, self.size, self.dropped = [], 0, 0
        return lines, dropped


class Circle:
    """Listeners that want the same calls."""

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self.count = 0  # calls so far
        self.open: list[Listener] = []
        self.full: dict[Listener, int] = {}  # and how many calls there had been when it had no more room

    def take(self, records: Sequence[CallRecord], line: Callable[[CallRecord], bytes]) -> None:
        """Pass on what is wanted, to those who have room."""
        chosen = self.wanted.calls_of(records)
        self.count += len(chosen)
        if chosen and self.open:
            for listener in self.open:
                self._fill(listener, chosen, line)
            self.open = [listener for listener in self.open if listener not in self.full]

    def _fill(self, listener: Listener, chosen: Sequence[CallRecord], line: Callable[[CallRecord], bytes]) -> None:
        for at, record in enumerate(chosen):
            if listener.full():
                self.full[listener] = self.count - len(chosen) + at
                return
            listener.add(line(record))

    def settle(self, listener: Listener) -> None:
        """Count what it has missed, before its message."""
        if listener in self.full:
            listener.dropped += self.count - self.full.pop(listener)
            self.open.append(listener)

    def leave(self, listener: Listener) -> None:
        """Forget a listener that has gone."""
        self.full.pop(listener, None)
        self.open = [one for one in self.open if one is not listener]

    def __len__(self) -> int:
        return len(self.open) + len(self.full)
