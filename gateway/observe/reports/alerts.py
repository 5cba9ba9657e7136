"""Looks now and then at what a worker has counted of its upstreams; tells when failures are too many, and when no more.

Costs nothing per call. Each worker judges by the calls it has seen itself. What one has raised that ends before, who
follows in its place takes over, and judges when it has counted for as long as counts; of several who follow each other
sooner, the one who is there then.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping

from gateway.core.watching.alerts import Seen, Thresholds, denied, failing
from gateway.observe.log.logger import event

LOOK_S = 2.0
RAISED, CLEARED = "raised", "cleared"
JUDGES = {"alert.error_rate": failing, "alert.auth_failures": denied}
MESSAGES = {
    ("alert.error_rate", True): "Upstream fails too often",
    ("alert.error_rate", False): "Upstream no longer fails too often",
    ("alert.auth_failures", True): "Upstream refuses credentials too often",
    ("alert.auth_failures", False): "Upstream no longer refuses credentials",
}


class Alerts:
    """Judges a worker's upstreams every `LOOK_S` seconds. `seen` says what was counted so far, by upstream.

    tell  told what this worker has found raised (event, upstream, True), or no longer so (False)
    """

    def __init__(
        self,
        thresholds: Thresholds,
        seen: Callable[[], Mapping[str, Seen]],
        tell: Callable[[str, str, bool], object] = lambda _name, _upstream, _raised: None,
    ) -> None:
        self._thresholds = thresholds
        self._seen = seen
        self._tell = tell
        self._moments: deque[tuple[float, Mapping[str, Seen]]] = deque()
        self._raised: set[tuple[str, str]] = set()
        self._taken_over: dict[tuple[str, str], float] = {}  # and when it is judged
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to look, if there is anything to look for. Idempotent. Needs the running loop."""
        if self._timer is None and (self._thresholds.any or self._taken_over):
            self._tick()

    def take_over(self, raised: Mapping[tuple[str, str], float], now_s: float) -> None:
        """What the worker before has raised, (event, upstream), and for how many seconds nobody has judged it."""
        over_s = self._thresholds.over_us / 1e6
        for one, waited_s in raised.items():
            if one not in self._raised:
                self._raised.add(one)
                self._taken_over[one] = now_s + max(over_s - waited_s, LOOK_S)

    def close(self) -> None:
        """Look no more. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(LOOK_S, self._tick)
        self.look(loop.time())

    def look(self, now_s: float) -> None:
        """Judge by what was added in the time that counts."""
        moments, over_s = self._moments, self._thresholds.over_us / 1e6
        moments.append((now_s, {**{upstream: Seen() for _, upstream in self._taken_over}, **self._seen()}))
        while len(moments) > 1 and moments[1][0] <= now_s - over_s:
            moments.popleft()
        for one in [one for one, due_s in self._taken_over.items() if due_s <= now_s]:
            del self._taken_over[one]
            self._tell(*one, True)
        first, last = moments[0][1], moments[-1][1]
        for upstream, seen in last.items():
            added = seen.since(first.get(upstream, Seen()))
            for name in JUDGES:
                self._judge(name, upstream, added)

    def _judge(self, name: str, upstream: str, added: Seen) -> None:
        key = name, upstream
        if key in self._taken_over:
            return
        before = key in self._raised
        now = JUDGES[name](self._thresholds, added, before=before)
        if now == before:
            return
        (self._raised.add if now else self._raised.discard)(key)
        self._tell(name, upstream, now)
        event(
            name,
            MESSAGES[name, now],
            "error" if now else "info",
            upstream=upstream,
            state=RAISED if now else CLEARED,
            calls=added.calls,
            failed=added.failed,
            denied=added.denied,
            over_s=self._thresholds.over_us / 1e6,
        )
