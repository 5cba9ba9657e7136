"""One worker's place: which process sits there now, how its predecessors fared, when a successor is due."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from gateway.supervisor.pulse import Pulse
from gateway.supervisor.switchboard import Line
from gateway.supervisor.worker import Post

QUICK_DEATH_S = 10.0
FIRST_BACKOFF_S = 0.1
LONGEST_BACKOFF_S = 30.0


def backoff_s(quick_deaths: int, chance: float) -> float:
    """How long a seat stays empty after a death, seconds.

    quick_deaths  deaths in a row of workers that lived less than QUICK_DEATH_S, this one included; 0 = it lived long
    chance        uniform in [0, 1): spreads seats that die together over the upper half of the delay
    """
    if quick_deaths == 0:
        return 0.0
    longest = min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2 ** min(quick_deaths - 1, 16))
    return float(longest * (0.5 + chance / 2))


@dataclass(slots=True)
class Former:
    """A worker that goes on serving until its successor on the same seat is ready, and then ends in peace.

    cut_at  monotonic seconds when it is killed; inf = it was not asked to end yet
    """

    pid: int
    line: Line | None
    pulse: Pulse | None = None
    cut_at: float = float("inf")


@dataclass(slots=True)
class Seat:
    """Times are monotonic seconds. `pid` 0 = empty. `formers`: whom a rolling restart replaces, still alive."""

    post: Post
    pid: int = 0
    ready: bool = False
    began: float = 0.0
    due: float = 0.0
    quick_deaths: int = 0
    queue_paused: bool = False
    line: Line | None = None
    pulse: Pulse | None = None
    formers: list[Former] = field(default_factory=list)

    def pids(self) -> Iterator[int]:
        """Of everybody who sits here or has sat here, and still lives."""
        yield from (former.pid for former in self.formers)
        if self.pid:
            yield self.pid

    def pulses(self) -> Iterator[tuple[int, Pulse, bool]]:
        """(pid, pulse, whether it is still starting) of everybody here."""
        here = [(former.pid, former.pulse, False) for former in self.formers]
        here += [(self.pid, self.pulse, not self.ready)] if self.pid else []
        return ((pid, pulse, starting) for pid, pulse, starting in here if pulse is not None)

    def make_room(self) -> None:
        """A successor is about to be forked beside the worker that sits here."""
        self.formers.append(Former(self.pid, self.line, self.pulse))
        self.pid, self.line, self.ready, self.quick_deaths = 0, None, False, 0

    def taken(self, pid: int, now: float) -> None:
        """A worker process has begun in this seat."""
        self.pid, self.began, self.ready = pid, now, False

    def left(self, now: float, chance: float) -> float:
        """The worker has died; returns the seconds until its successor is due."""
        self.pid, self.ready = 0, False
        self.quick_deaths = self.quick_deaths + 1 if now - self.began < QUICK_DEATH_S else 0
        delay = backoff_s(self.quick_deaths, chance)
        self.due = now + delay
        return delay
