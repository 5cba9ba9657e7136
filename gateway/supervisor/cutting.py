"""Workers that do not end in time are killed, each with an event that says so."""

import os
import signal
from collections.abc import Sequence

from gateway.observe.log.logger import event
from gateway.supervisor.seat import Seat

LAST_RESORT_S = 2.0  # beyond the longest drain


def cut_overdue(seats: Sequence[Seat], stop_by: float | None, now: float) -> float | None:
    """Kill whoever was to be gone by `now`; returns when those that are left are to be gone, as `stop_by` came.

    stop_by  monotonic seconds when nobody may be left; None = the gateway goes on, and only formers have to end
    """
    for seat in seats:
        for former in seat.formers:
            if former.cut_at <= now:
                _cut(seat, former.pid)
                former.cut_at = now + LAST_RESORT_S
    if stop_by is None or now < stop_by:
        return stop_by
    for seat in seats:
        for pid in seat.pids():
            _cut(seat, pid)
    return now + LAST_RESORT_S


def _cut(seat: Seat, pid: int) -> None:
    event("worker.cut", "Worker did not end in time", "error", worker=seat.post.index, pid=pid)
    os.kill(pid, signal.SIGKILL)
