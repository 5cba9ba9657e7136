"""Whether an event loop still turns: memory that a worker shares with who watches over it, so that nobody is asked.

Time in which the watcher itself did not get to look counts for nobody: when all were stopped (a container that was
paused, a host that was suspended or had no processor to give), who is looked at first must not seem to have hung.
"""

import asyncio
import mmap
from typing import Never

BEAT_S = 0.5
LATE_S = 1.0
"""A look that comes later than this has seen nothing."""
LOOKS = 10
MOST_BETWEEN_LOOKS_S = 3.0
STARTS_IN = 10
LEAST_START_US = 60_000_000


class Pulse:
    """One worker's sign of life. Made before the worker is forked."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 1)  # anonymous and shared with children

    @property
    def beats(self) -> int:
        """Another number than before: it lives."""
        return self._memory[0]

    def beat(self) -> None:
        """Called by the worker, at least every BEAT_S."""
        self._memory[0] = (self._memory[0] + 1) % 256

    async def go_on(self) -> Never:
        """Beat as long as the event loop turns, until cancelled."""
        while True:
            self.beat()
            await asyncio.sleep(BEAT_S)


class Silence:
    """How long nothing was heard of somebody. Times are monotonic seconds."""

    def __init__(self, now: float) -> None:
        self._looked = now
        self._silent_s = 0.0

    def look(self, now: float, within_s: float, *, heard: bool) -> float:
        """Seconds of silence, as far as they were watched. `within_s`: when this look was due, after the last."""
        passed_s, self._looked = now - self._looked, now
        self._silent_s = 0.0 if heard or passed_s > within_s + LATE_S else self._silent_s + passed_s
        return self._silent_s


class Watched:
    """A pulse, and how long it has stood still."""

    def __init__(self, pulse: Pulse, now: float) -> None:
        self._pulse = pulse
        self._beats = pulse.beats
        self._silence = Silence(now)

    def look(self, now: float, within_s: float) -> float:
        """See `Silence.look`."""
        before, self._beats = self._beats, self._pulse.beats
        return self._silence.look(now, within_s, heard=before != self._beats)


def look_every_s(patience_us: int) -> float:
    """Seconds between two looks at who may be silent for so long."""
    return min(MOST_BETWEEN_LOOKS_S, patience_us / LOOKS / 1e6)


def start_patience_us(patience_us: int) -> int:
    """How long the loop of a worker may stand still that has yet to serve. It builds everything in a few turns, which
    take long where there are thousands of policies: so many times as long as one that serves, and never less than a
    minute."""
    return max(LEAST_START_US, STARTS_IN * patience_us)
