"""When a reload that came to nothing is tried again although no file has changed."""

from math import inf

from gateway.reload.outcome import Outcome

FIRST_S, MOST_S = 1.0, 60.0
"""Each wait is twice as long as the one before."""


class Again:
    """Tells when it is time. Of mistakes in the files it is not: they wait for the next edit."""

    def __init__(self) -> None:
        self._due_s = inf
        self._gap_s = FIRST_S

    def after(self, outcome: Outcome, now_s: float) -> None:
        """Plan the next try: later each time, if what went wrong may pass by itself; none otherwise."""
        if outcome.may_pass:
            self._due_s, self._gap_s = now_s + self._gap_s, min(2 * self._gap_s, MOST_S)
        else:
            self._due_s, self._gap_s = inf, FIRST_S

    def due(self, now_s: float) -> bool:
        """Whether it is time for the next try."""
        return now_s >= self._due_s
