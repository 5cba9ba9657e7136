"""A rolling restart: a successor for every worker, one after the other. Nobody stops before its successor serves."""

import math
import os
import signal
import time
from collections.abc import Callable, Sequence

from gateway.supervisor.cutting import LAST_RESORT_S
from gateway.supervisor.posts import as_successor
from gateway.supervisor.seat import Former, Seat
from gateway.supervisor.switchboard import Switchboard


class Rolling:
    """Works on the supervisor's seats, a step in each of its turns.

    fill  forks a worker for an empty seat
    """

    def __init__(self, seats: Sequence[Seat], switchboard: Switchboard, fill: Callable[[Seat], None]) -> None:
        self._seats = seats
        self._switchboard = switchboard
        self._fill = fill
        self._waiting: list[Seat] = []

    def order(self) -> int:
        """Have a successor in every seat; returns how many these are. Those being replaced already are left out, unless
        by somebody who has begun with other settings than are right now."""
        self._waiting = [seat for seat in self._seats if not _takes_up(seat)]
        return len(self._waiting)

    def step(self) -> None:
        """Let those end whose successors are ready; when none is awaited any more, fork the next."""
        unfinished = False
        for seat in self._seats:
            for former in seat.formers:
                if former.cut_at == math.inf and seat.ready:
                    self._retire(seat, former)
                unfinished = unfinished or former.cut_at == math.inf
        if not unfinished:
            self._next()

    def _next(self) -> None:
        """A seat whose worker has died has its successor soon, with what successors begin with. Who is starting is
        waited for: it may have begun with something else, and others go first."""
        for at, seat in enumerate(self._waiting):
            if seat.ready or not seat.pid:
                del self._waiting[at]
                seat.post = as_successor(seat.post)
                if seat.pid:
                    seat.make_room()
                    self._fill(seat)
                return

    def retire_all(self) -> None:
        """Another gateway serves in place of ours. Who is not ready yet hears what a signal says, and ends too."""
        self._waiting.clear()
        for seat in self._seats:
            if seat.pid and seat.ready:
                seat.make_room()
            elif seat.pid:
                os.kill(seat.pid, signal.SIGINT)
            for former in seat.formers:
                if former.cut_at == math.inf:
                    self._retire(seat, former)

    def _retire(self, seat: Seat, former: Former) -> None:
        """It is to end what it has begun, and leads no more."""
        former.cut_at = time.monotonic() + seat.post.settings.drain.grace_us / 1e6 + LAST_RESORT_S
        if former.line is not None:
            if self._switchboard.leader is former.line:
                self._switchboard.leader = None
            self._switchboard.tell(former.line, "retire", {})


def _takes_up(seat: Seat) -> bool:
    """Have who is to serve here next, and does not come up, be tried again with what is right now. Whether somebody is
    to, and it was not forked with anything else."""
    if all(former.cut_at < math.inf for former in seat.formers):
        return False
    before, seat.post = seat.post, as_successor(seat.post)
    return not seat.pid or seat.post.settings == before.settings
