"""Excuses for a command that seems to get no answer because this process was held up itself."""

from gateway.waiting import HELD_UP_S

MOST_EXCUSES = 3
"""In a row, for one command."""


class Excuses:
    """Of one link, whose timer looks at the oldest command.

    A timer that comes late says that this process was held up, by work or by the collector, and so may have been the
    command on its way out. The server gets its time from then on; not for ever, it may be gone as well, and then no
    other command becomes the oldest.
    """

    def __init__(self) -> None:
        self._listening_since_s = 0.0
        self._given = 0
        self._to: object = None

    def listening_since(self, oldest: object, due_s: float, now_s: float) -> float:
        """Since when this process has been there to hear an answer, as far as it is known; 0 = all the time.

        oldest        the command that is looked at
        due_s, now_s  when the timer should have come, and when it came
        """
        late = now_s - due_s >= HELD_UP_S
        if not late or oldest is not self._to:
            self._given, self._to = 0, oldest
        if late and self._given < MOST_EXCUSES:
            self._given += 1
            self._listening_since_s = now_s
        return self._listening_since_s
