"""Ends workers whose event loop stands still: their callers would wait for ever. Their successors come as those of
workers that die.

Who is starting may be long about it (`start_patience_us`).
"""

import math
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.observe.metrics.restarts import count_hang
from gateway.supervisor.pulse import Watched, look_every_s, start_patience_us
from gateway.supervisor.seat import Seat
from gateway.supervisor.stack import ask_for_stack, has_debugger, state_of, tell_hung, told_stack
from gateway.supervisor.worker import Post

ANSWERS_WITHIN_S = 0.3


@dataclass(slots=True)
class _Worker:
    """One process. `asked`: where it hangs."""

    watched: Watched
    asked: bool = False


class Watchdog:
    """Works on the supervisor's seats. `due`: monotonic seconds when the next look is; inf = it is off."""

    def __init__(self, seats: Sequence[Seat]) -> None:
        self._seats = seats
        self._watched: dict[tuple[int, bool], _Worker] = {}  # by pid, and whether it is starting
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
            for pid, pulse, starting in seat.pulses():
                who = pid, starting
                one = self._watched[who] = known.get(who) or _Worker(Watched(pulse, now))
                silent_s = one.watched.look(now, within_s)
                may_us = start_patience_us(patience_us) if starting else patience_us
                hangs = silent_s * 1e6 >= may_us and not has_debugger(pid)
                self._look_at(seat.post, who, one, silent_s if hangs else 0.0)
        if any(one.asked for one in self._watched.values()):
            self.due = now + min(self._every_s, ANSWERS_WITHIN_S)

    def _look_at(self, post: Post, who: tuple[int, bool], one: _Worker, hung_s: float) -> None:
        """`hung_s` 0 = it does not hang."""
        pid, _ = who
        if hung_s and not one.asked and post.directory is not None:
            one.asked = True
            ask_for_stack(post.directory, pid)
        elif hung_s:
            del self._watched[who]
            _end(post, pid, hung_s)
        else:
            one.asked = False


def _end(post: Post, pid: int, hung_s: float) -> None:
    """First kill, then tell: it may hold what others wait for, such as the log."""
    state, stack = state_of(pid), told_stack(post.directory, pid) if post.directory is not None else ""
    os.kill(pid, signal.SIGKILL)
    count_hang()
    tell_hung(pid, hung_s, stack, worker=post.index, process_state=state)
