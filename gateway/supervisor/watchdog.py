"""Ends workers whose event loop stands still: their callers would wait for ever. Their successors come as those of
workers that die.

Watched is who serves. Who is starting has shown no sign yet, and who drains has a time of its own
(`gateway.supervisor.cutting`).
"""

import math
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.observe.log.logger import event
from gateway.observe.metrics.restarts import count_hang
from gateway.supervisor.pulse import Silence, look_every_s
from gateway.supervisor.seat import Seat
from gateway.supervisor.stack import ask_for_stack, has_debugger, state_of, told_stack

ANSWERS_WITHIN_S = 0.3


@dataclass(slots=True)
class _Watched:
    """One worker process. `asked`: where it hangs."""

    silence: Silence
    asked: bool = False


class Watchdog:
    """Works on the supervisor's seats. `due`: monotonic seconds when the next look is; inf = it is off."""

    def __init__(self, seats: Sequence[Seat]) -> None:
        self._seats = seats
        self._watched: dict[int, _Watched] = {}
        self._every_s = 0.0
        self.due = math.inf

    def look(self, now: float) -> None:
        """Unless it is not time yet: end those that have been silent for too long."""
        patience_us = self._seats[0].post.settings.watchdog_us
        if patience_us is None:
            self._watched.clear()
            self.due = math.inf
            return
        if now < self.due < math.inf:
            return
        known, self._watched = self._watched, {}
        within_s, self._every_s = self._every_s, look_every_s(patience_us)
        self.due = now + self._every_s
        for seat in self._seats:
            if seat.pid and seat.ready and seat.pulse is not None:
                one = self._watched[seat.pid] = known.get(seat.pid) or _Watched(Silence(seat.pulse, now))
                silent_s = one.silence.look(now, within_s)
                self._look_at(seat, one, silent_s, silent_s * 1e6 >= patience_us and not has_debugger(seat.pid))
        if any(one.asked for one in self._watched.values()):
            self.due = now + min(self._every_s, ANSWERS_WITHIN_S)

    def rest(self) -> None:
        """From now on nobody is watched."""
        self._watched.clear()
        self.due = math.inf

    def _look_at(self, seat: Seat, one: _Watched, silent_s: float, hangs: bool) -> None:
        directory = seat.post.directory
        if hangs and not one.asked and directory is not None:
            ask_for_stack(directory, seat.pid)
        elif hangs:
            self._end(seat, silent_s)
        one.asked = hangs

    def _end(self, seat: Seat, silent_s: float) -> None:
        """First kill, then tell: it may hold what others wait for, such as the log."""
        pid, directory = seat.pid, seat.post.directory
        state, stack = state_of(pid), told_stack(directory, pid) if directory is not None else ""
        os.kill(pid, signal.SIGKILL)
        del self._watched[pid]
        count_hang()
        told = {"silent_s": round(silent_s, 1), "process_state": state, "exception": stack or None}
        what = "Worker's event loop stands still, it is killed"
        event("worker.hung", what, "error", worker=seat.post.index, pid=pid, **told)
