"""What is asked of other workers, and what they answered."""

import asyncio
from collections.abc import Iterable
from typing import Any, NamedTuple


class Answer(NamedTuple):
    """What one worker answered, or why it did not.

    worker   index; -1 = the supervisor
    missing  "" or the reason why `payload` is empty: `no answer in time`, `gone`, `busy`, or what went wrong there
    """

    worker: int
    payload: dict[str, Any]
    missing: str = ""


class Question:
    """Answers as they come in.

    awaited  the workers still to answer, by line; None = the supervisor has not said yet who was asked
    done     has a result when nobody is awaited any more
    """

    def __init__(self) -> None:
        self.awaited: dict[int, int] | None = None
        self.answers: list[Answer] = []
        self.done = asyncio.get_running_loop().create_future()

    def expect(self, those: Iterable[tuple[int, int]]) -> None:
        """These were asked, as (line, index)."""
        self.awaited = dict(those)
        self._perhaps_done()

    def answered(self, line: int, payload: dict[str, Any], missing: str = "") -> None:
        """Take one worker's answer. Nothing is kept of second ones, nor of those who were not asked: the supervisor
        says who is before it asks them, and whose line it closed earlier is not among them."""
        if self.awaited is not None and line in self.awaited:
            self.answers.append(Answer(self.awaited.pop(line), payload, missing))
            self._perhaps_done()

    def give_up(self, reason: str) -> None:
        """Wait no longer: whoever is awaited has not answered, for this reason."""
        for line in tuple(self.awaited or ()):
            self.answered(line, {}, reason)

    def _perhaps_done(self) -> None:
        if not self.awaited and not self.done.done():
            self.done.set_result(None)
