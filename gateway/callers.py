"""What each caller's limits and guards are asked: worked out once, remembered while the caller keeps calling."""

from collections.abc import Iterator, Mapping

from gateway.core.ask import Ask
from gateway.core.caller import ask_for
from gateway.core.policy import Operation, PolicySet, Route
from gateway.core.problems import Refusal
from gateway.wire.memo import Memo

MOST_CALLERS = 16_384
"""That are remembered at most."""
MAX_VALUE_CHARS = 128


class _Place:
    """Where callers are asked the same: a route and an operation. Holding both keeps their identities theirs."""

    __slots__ = ("operation", "route")

    def __init__(self, route: Route, operation: Operation | None) -> None:
        self.route = route
        self.operation = operation


class Callers:
    """Remembers what to ask by route, operation and key values."""

    def __init__(self) -> None:
        self._places: dict[tuple[int, int], _Place] = {}
        self._remembered: Memo[tuple[object, ...], Ask] = Memo(MOST_CALLERS)

    def forget(self) -> None:
        """Forget everybody: other policies are in force."""
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
        place = self._places.get((id(route), id(operation))) or self._new_place(route, operation)
        key = (place, *parts.values())
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

    def _new_place(self, route: Route, operation: Operation | None) -> _Place:
        if len(self._places) >= MOST_CALLERS:  # calls that began under other policies have theirs too
            self._places.clear()
        place = self._places[id(route), id(operation)] = _Place(route, operation)
        return place
