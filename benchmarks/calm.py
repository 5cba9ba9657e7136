"""Whether the machine has its usual speed while something is measured.

On a shared host the same work takes twice as long for some seconds or minutes, and nothing in `/proc` says so. So a
fixed piece of work is timed before and after each measured run, on the proxy's core, which is idle then. A run beside
which it took much longer than ever is made again, as long as there is patience left. Which run counts is never up to
its result.
"""

import os
import random
import time
from array import array
from collections.abc import Callable
from functools import cache
from typing import TypeVar

from benchmarks.programs import PROXY_CORE

TOLERATED = 1.2
"""How much longer the work may take: about what it differs by on a quiet machine."""
TRIES = 4
LOOKS = 3
PATIENCE_S = 240.0
"""For all that one process measures, in waiting and in runs made again."""
STEPS, CELLS = 150_000, 1 << 20

Measured = TypeVar("Measured")


class Yardstick:
    """A fixed piece of work: steps through memory that a core has not for itself, each up to the one before."""

    def __init__(self) -> None:
        order = list(range(CELLS))
        random.Random(1).shuffle(order)
        self._next = array("I", bytes(4 * CELLS))
        for here, there in zip(order, order[1:] + order[:1], strict=True):
            self._next[here] = there
        self._least_s = min(self._took_s() for _ in range(3 * LOOKS))

    def slowness(self) -> float:
        """How many times as long as ever the work takes now."""
        took_s = min(self._took_s() for _ in range(LOOKS))
        self._least_s = min(self._least_s, took_s)
        return took_s / self._least_s

    def _took_s(self) -> float:
        before, at, following = os.sched_getaffinity(0), 0, self._next
        os.sched_setaffinity(0, {int(PROXY_CORE)})
        try:
            began = time.perf_counter()
            for _ in range(STEPS):
                at = following[at]
            return time.perf_counter() - began
        finally:
            os.sched_setaffinity(0, before)


class Patience:
    """Makes disturbed runs again, until it has taken too long."""

    def __init__(
        self, slowness: Callable[[], float], clock: Callable[[], float], sleep: Callable[[float], None]
    ) -> None:
        self._slowness = slowness
        self._clock = clock
        self._sleep = sleep
        self.left_s = PATIENCE_S

    def calmest(self, run: Callable[[], Measured]) -> tuple[float, Measured]:
        """(slowness beside it, what was measured) of the first run that was not disturbed, or the least disturbed."""
        tries: list[tuple[float, Measured]] = []
        while True:
            before = self._wait()
            began = self._clock()
            measured = run()
            slowness = max(before, self._slowness())
            tries.append((slowness, measured))
            if slowness <= TOLERATED or len(tries) == TRIES or self.left_s <= 0:
                return min(tries, key=lambda one: one[0])
            self.left_s -= self._clock() - began

    def _wait(self) -> float:
        while (slowness := self._slowness()) > TOLERATED and self.left_s > 0:
            self._sleep(1.0)
            self.left_s -= 1.0
        return slowness


@cache
def patience() -> Patience:
    """Of this process."""
    return Patience(Yardstick().slowness, time.monotonic, time.sleep)
