"""What each caller's limits and guards are asked: worked out once, remembered while the caller keeps calling."""

from collections.abc import Hashable, Iterator, Mapping
from typing import NamedTuple

from gateway.core.ask import Ask
from gateway.core.caller import ask_for, asked_alike
from gateway.core.policy import Operation, PolicySet, Route
from gateway.core.problems import Refusal
from gateway.wire.memo import Memo

MOST_CALLERS = 16_384
"""That are remembered at most."""
MAX_VALUE_CHARS = 128


class _Place:
    """Where callers are asked the same: some routes and operations."""

    __slots__ = ()


class _Known(NamedTuple):
    """The place of a route and an operation, which keep their identities as long as they are here."""

    place: _Place
    route: Route
    operation: Operation | None


class Callers:
    """Remembers what to ask by key values, wherever callers are asked the same: on a thousand routes with the same
    limits a caller has one `Ask`, and what hangs on it is in the processor's cache when the next call wants it."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], _Known] = {}
        self._places: dict[Hashable, _Place] = {}
        self._remembered: Memo[tuple[object, ...], Ask] = Memo(MOST_CALLERS)

    def forget(self) -> None:
        """Forget everybody: other policies are in force."""
        self._known.clear()
        self._places.clear()
        self._remembered.forget()

    def __len__(self) -> int:
        return len(self._remembered)

    def asks(self) -> Iterator[Ask]:
        """What the callers that are remembered have the store asked."""
        return self._remembered.values()

    def forget_refusals(self) -> None:
        """Somebody has changed what is counted: ask the store again, also about those whom it has just refused."""
        for ask in self.asks():
            ask.used_up = None

    def asked(
        self, policies: PolicySet, route: Route, operation: Operation | None, parts: Mapping[str, str | None]
    ) -> Ask | Refusal:
        """What one call asks the store, or the refusal for a missing key part. Equal callers get the same object.

        parts  the route's key parts in order
        """
        where = self._known.get((id(route), id(operation))) or self._new(policies, route, operation)
        key = (where.place, *parts.values())
        known = self._remembered.young.get(key) or self._remembered.recall(key)
        if known is not None:
            return known
        asked = ask_for(policies, route, operation, parts)
        if isinstance(asked, Refusal):
            return asked
        if any(value is not None and len(value) > MAX_VALUE_CHARS for value in parts.values()):
            return asked  # kilobytes of identity are not worth remembering
        self._remembered.remember(key, asked)
        return asked

    def _new(self, policies: PolicySet, route: Route, operation: Operation | None) -> _Known:
        if len(self._known) >= MOST_CALLERS:  # calls that began under other policies have theirs too
            self._known.clear()
            self._places.clear()
        place = self._places.setdefault(asked_alike(policies, route, operation), _Place())
        known = self._known[id(route), id(operation)] = _Known(place, route, operation)
        return known
