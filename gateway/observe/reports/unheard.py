"""Errors that nobody hears of: of background work, of callbacks, of tasks that nobody waits for."""

import asyncio
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any

from gateway.observe.log.logger import event

CALM_S = 30.0
"""Between two lines about the same: what fails once a call must not fill the log with its traceback."""
MOST_PLACES = 100

_Place = tuple[object, ...]
"""Work, kind of error, where it was raised."""


class Unheard:
    """The handler of a worker's event loop (`set_exception_handler`). The loop's own would show what was handed to a
    callback, and what an exception says."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._quiet: dict[_Place, tuple[float, int]] = {}  # until when, and how often since its last line

    def __call__(self, loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
        error, work = context.get("exception"), context.get("work")
        of_a_socket = isinstance(error, ConnectionError) or (isinstance(error, OSError) and "transport" in context)
        if error is None or (of_a_socket and work is None):  # no error of ours
            loop.default_exception_handler(dict(context))
            return
        count = self._count((work, *_place(error)))
        if count:
            what = "Worker met an internal error beside its calls"
            event("background.crashed", what, "error", work=work, count=count, exc_info=error)

    def _count(self, place: _Place) -> int:
        """How many errors the line stands for that is due now; 0 = none is."""
        now_s = self._clock()
        until_s, count = self._quiet.get(place, (now_s, 0))
        if now_s < until_s:
            self._quiet[place] = until_s, count + 1
            return 0
        if place not in self._quiet and len(self._quiet) >= MOST_PLACES:
            self._quiet = {known: calm for known, calm in self._quiet.items() if now_s < calm[0]}
            if len(self._quiet) >= MOST_PLACES:
                return 0  # of so many at once the first tell enough
        self._quiet[place] = now_s + CALM_S, 0
        return count + 1


def _place(error: BaseException) -> _Place:
    """Without the work."""
    at = error.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    return (type(error), at.tb_frame.f_code, at.tb_lineno) if at is not None else (type(error),)
