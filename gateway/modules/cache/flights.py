"""One call asks the upstream for an answer, the others who want the same wait for it, but not for ever."""

import asyncio
from collections.abc import Callable
from enum import Enum
from time import monotonic
from typing import Any

from gateway.wire.memo import Memo

PASS_S = 10.0
"""For how long nobody waits for answers that turned out not to be for everybody."""
FAILS_S = 1.0
"""For how long an upstream that could not be asked is left alone by those who can use an old answer."""
MOST_REMEMBERED = 4096


class Outcome(Enum):
    """What became of the call that was waited for."""

    KEPT = "kept"
    ITS_OWN = "its own"
    """Its answer was for itself alone: everybody has to ask."""
    LEFT = "left"
    """Its caller has left, or it was refused: somebody else has to ask."""
    FAILED = "failed"
    """The upstream could not be asked: for a moment it need not be asked again while old answers may be used."""
    LATE = "late"


class Flight:
    """One call on its way. `end` is called once; further calls have no effect.

    on_end  told by the first
    """

    __slots__ = ("_flights", "_key", "_waiting", "on_end")

    def __init__(self, flights: "Flights", key: Any) -> None:
        self.on_end: Callable[[Outcome], None] | None = None
        self._flights = flights
        self._key = key
        self._waiting: list[asyncio.Future[Outcome]] = []

    @property
    def alone(self) -> bool:
        """Whether nobody can wait for it."""
        return self._key is None

    def end(self, outcome: Outcome) -> None:
        """Let those who wait go on."""
        self._flights.ended(self._key, self, outcome)
        on_end, self.on_end = self.on_end, None
        if on_end is not None:
            on_end(outcome)
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            if not one.done():
                one.set_result(outcome)

    def failed_elsewhere(self) -> None:
        """Another worker could not ask the upstream a moment ago."""
        self._flights.remember(self._key, Outcome.FAILED)

    async def wait(self, within_s: float) -> Outcome:
        """What became of it; LATE if that takes longer. For any coroutine: no task is needed."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Outcome] = loop.create_future()
        self._waiting.append(future)
        timer = loop.call_later(within_s, _late, future)
        try:
            return await future
        finally:
            timer.cancel()


def _late(future: "asyncio.Future[Outcome]") -> None:
    if not future.done():
        future.set_result(Outcome.LATE)


class Flights:
    """Calls on their way, by what they ask for."""

    def __init__(self) -> None:
        self._flying: dict[Any, Flight] = {}
        self._until: Memo[Any, tuple[Outcome, float]] = Memo(MOST_REMEMBERED)

    def flying(self, key: Any) -> Flight | None:
        """The call to wait for; None = there is none."""
        return self._flying.get(key)

    def passes(self, key: Any) -> bool:
        """Whether answers to this were each caller's own a moment ago: waiting for one would be for nothing."""
        return self._remembered(key) is Outcome.ITS_OWN

    def fails(self, key: Any) -> bool:
        """Whether the upstream could not be asked a moment ago."""
        return self._remembered(key) is Outcome.FAILED

    def _remembered(self, key: Any) -> Outcome | None:
        known = self._until.young.get(key) or self._until.recall(key)
        return known[0] if known is not None and monotonic() < known[1] else None

    def begin(self, key: Any) -> Flight:
        """This call asks; others may wait for it."""
        flight = self._flying[key] = Flight(self, key)
        return flight

    def ended(self, key: Any, flight: Flight, outcome: Outcome) -> None:
        """A flight has ended: others may start one for the same key."""
        if self._flying.get(key) is flight:
            del self._flying[key]
            self.remember(key, outcome)

    def remember(self, key: Any, outcome: Outcome) -> None:
        """Remember for a moment an outcome that the next callers should not ask for again."""
        lasts_s = {Outcome.ITS_OWN: PASS_S, Outcome.FAILED: FAILS_S}.get(outcome)
        if lasts_s is not None:
            self._until.remember(key, (outcome, monotonic() + lasts_s))
