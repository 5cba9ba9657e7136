"""What one worker can tell operators about itself, whichever worker they have asked."""

import os
from collections import deque
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any

from gateway import __version__
from gateway.admin.operations.stream import Streams
from gateway.admin.watching.heavy_callers import HeavyCallers
from gateway.admin.watching.repeats import Repeats
from gateway.admin.watching.tap import Tap
from gateway.core.connections.state import ConnectionState
from gateway.observe.batch import Batch
from gateway.observe.log.access import AccessLog
from gateway.observe.log.logger import hear_events, hear_no_events
from gateway.observe.metrics.process import resident_bytes
from gateway.observe.metrics.pulse import Pulse
from gateway.siblings import Siblings

LAST = 10
LAST_EVENTS = 200
RELOADS = ("policy.loaded", "policy.unchanged", "policy.rejected", "policy.failed")
TOLD = (
    *("breaker.", "upstream.paused", "store.", "policy.", "config.", "certificates.", "authentication."),
    *("admin.mutation", "admin.denied", "gateway.", "worker.", "call.crashed", "background.crashed"),
    *(f"connection.{state}" for state in ConnectionState),
)
"""Beginnings of names of events that are kept for a while. The others come with single calls."""
_NOT_KEPT = ("schema", "service_name", "service_version", "instance", "message")


class Lookout:
    """Collects what one worker can tell, and answers its siblings' questions with it.

    streams   who listens to the stream, connected to this worker
    facts     what the worker knows of itself at any time: JSON
    """

    def __init__(
        self,
        siblings: Siblings,
        batch: Batch,
        access: AccessLog,
        pulse: Pulse,
        facts: Callable[[], Mapping[str, Any]],
    ) -> None:
        self.streams = Streams(siblings)
        self._siblings = siblings
        self._pulse = pulse
        self._facts = facts
        self._started_s = monotonic()
        self._reloads: deque[Mapping[str, Any]] = deque(maxlen=LAST)
        self._events: deque[Mapping[str, Any]] = deque(maxlen=LAST_EVENTS)
        self._heavy = HeavyCallers()
        self._repeats = Repeats(siblings, batch)
        self._tap = Tap(siblings, batch, access)
        batch.takers = (*batch.takers, self._heavy.take)
        siblings.on("top", lambda asked: self._heavy.found(asked["by"]))
        siblings.on("minutes", lambda asked: {"minutes": self._heavy.minutes(asked["partition"])})
        siblings.on("history", lambda _: {"points": self._pulse.history.points()})
        siblings.on("events", self._told)
        siblings.on("report", lambda _: self.report())
        hear_events(self._hear)

    def close(self) -> None:
        """Stop listening to events."""
        hear_no_events(self._hear)

    def top_rejected(self) -> Mapping[tuple[str, str], int]:
        """How often those were refused who were refused most, by (limit, rank among its callers)."""
        return self._heavy.ranked("rejected")

    def report(self) -> dict[str, Any]:
        """This worker now, and what happened here lately."""
        return {
            "worker": self._siblings.index,
            "pid": os.getpid(),
            "version": __version__,
            "uptime_s": round(monotonic() - self._started_s, 3),
            "memory_bytes": resident_bytes(),
            **self._facts(),
            "reloads": list(self._reloads),
            "lately": self._pulse.lately(),
        }

    def _hear(self, line: Mapping[str, Any]) -> None:
        if line["event_name"] in RELOADS:
            self._reloads.append({name: value for name, value in line.items() if name not in _NOT_KEPT})
        if line["event_name"].startswith(TOLD):
            self._events.append({name: value for name, value in line.items() if name not in _NOT_KEPT})
        self._tap.hear(line)

    def _told(self, asked: dict[str, Any]) -> dict[str, Any]:
        """The last events, or the last of those whose fields have all the values of one of these."""
        abouts = [about.items() for about in asked["about"]]
        found = [one for one in self._events if not abouts or any(about <= one.items() for about in abouts)]
        return {"events": found[-asked["most"] :]}
