"""What one attempt says about its connection, by the error classes of the policy set."""

from collections.abc import Iterable, Mapping
from enum import StrEnum

from gateway.core.access.tokens import REFUSED, UNAVAILABLE
from gateway.core.classes import Classes, Counts, ErrorClass
from gateway.core.connections.state import ConnectionState
from gateway.core.guards import Breaker


class Outcome(StrEnum):
    """What one attempt says about its connection.

    OK        a good answer
    REJECTED  the request was at fault (400, 404, 422 ...), the connection works
    FAILED    the other side did not do its part
    UNAUTHENTICATED, FORBIDDEN, LIMITED   credentials, permission, too many calls
    DOWN      a policy says that this alone means offline
    """

    OK = "ok"
    REJECTED = "rejected"
    FAILED = "failed"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    LIMITED = "limited"
    DOWN = "down"


_BY_STATE: Mapping[ConnectionState, Outcome] = {
    ConnectionState.ONLINE: Outcome.REJECTED,
    ConnectionState.DEGRADED: Outcome.FAILED,
    ConnectionState.OFFLINE: Outcome.DOWN,
    ConnectionState.AUTH_REQUIRED: Outcome.UNAUTHENTICATED,
    ConnectionState.PERMISSION_DENIED: Outcome.FORBIDDEN,
    ConnectionState.RATE_LIMITED: Outcome.LIMITED,
}


WHOLE = frozenset({"tenant", "account", "connection"})
"""Parts of keys that a whole connection has one value of; of all others (operation, region …) it may have several."""


class Outcomes:
    """The outcomes of a policy set. Remembers what it worked out: there are few classes, and a thousand statuses."""

    def __init__(self, classes: Classes, breakers: Iterable[Breaker] = ()) -> None:
        self._classes = classes
        self._partial = frozenset(one.name for one in breakers if not WHOLE.issuperset(one.key))
        self._by_name = {one.name: one for one in (*classes.statuses.values(), *classes.errors.values())}
        self._known: dict[tuple[str, int], Outcome | None] = {}

    def of(self, name: str, status: int) -> Outcome | None:
        """Of an attempt with this error class ("" = none) and status of the upstream (0 = no answer).

        None: it says nothing, neither good nor bad.
        """
        key = (name, status)
        if key not in self._known:
            self._known[key] = self._work_out(name, status)
        return self._known[key]

    def shut_by(self, breaker: str) -> bool:
        """Whether a refusal by this breaker means that the whole connection is left alone, and not a part of it."""
        return breaker not in self._partial

    def _work_out(self, name: str, status: int) -> Outcome | None:
        if name in (REFUSED, UNAVAILABLE):
            return Outcome.UNAUTHENTICATED
        error_class = self._class_of(name, status)
        if error_class is not None:
            return _of_class(error_class, answered=status > 0)
        return Outcome.OK if status else None

    def _class_of(self, name: str, status: int) -> ErrorClass | None:
        """Two classes may have one name (401 and 403 have): then the status tells them apart."""
        by_status = self._classes.statuses.get(status)
        if by_status is not None and name in ("", by_status.name):
            return by_status
        return self._classes.errors.get(name) or self._by_name.get(name) or by_status


def _of_class(error_class: ErrorClass, *, answered: bool) -> Outcome | None:
    if error_class.condition is not None:
        return _BY_STATE[error_class.condition]
    if error_class.pause:
        return Outcome.LIMITED
    if error_class.breaker is Counts.FAILURE:
        return Outcome.FAILED
    return Outcome.REJECTED if answered else None
