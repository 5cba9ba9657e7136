"""Error classes: what an upstream's answer, or its absence, means for retries, breakers and the connection's state.

One word per outcome, used by all of them alike and written to the log. The tables are made once per policy set; a
success costs one lookup that finds nothing.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import NamedTuple

from gateway.core.connections.state import ConnectionState

NO_PLACE = "busy"
"""The class of calls that had to stay here, for want of sockets or of a turn: the upstream has not heard of them."""


class Counts(StrEnum):
    """What a breaker makes of an outcome."""

    IGNORE = "ignore"
    FAILURE = "failure"
    SUCCESS = "success"


@dataclass(frozen=True, slots=True)
class ErrorClass:
    """What one kind of outcome means.

    retry      False: never tried again. True: tried again if the retry policy lists the outcome.
    breaker    whether a breaker counts it as a failure, as a success, or not at all
    pause      name of the key part that is left alone for as long as the upstream asks; "" = none
    condition  the connection's state afterwards; None = it follows from pause, breaker and successes
    source     `file:line` of its definition, which makes no difference
    """

    name: str
    retry: bool = True
    breaker: Counts = Counts.IGNORE
    pause: str = ""
    condition: ConnectionState | None = None
    source: str = field(default="", compare=False)


KINDS: Mapping[str, frozenset[str]] = {
    "connect": frozenset({"dns", "dns_timeout", "refused", "connect_timeout"}),
    "timeout": frozenset({"first_byte_timeout", "idle_timeout", "total_timeout"}),
    "tls": frozenset({"tls_certificate", "tls_protocol"}),
    "reset": frozenset({"reset", "closed", "cut"}),
    "reset_before_response": frozenset({"reset", "closed"}),
    "malformed": frozenset({"malformed"}),
}
"""The words of the policy language, and which errors of the transport each stands for.

`cut` is an answer that broke off inside its body. `busy` (no socket or descriptor of ours was free) has no word: it
says nothing about the upstream.
"""


class Rule(NamedTuple):
    """One line of `error_classes`: these statuses and these kinds of errors are of that class."""

    error_class: ErrorClass
    statuses: Collection[int]
    kinds: Collection[str] = ()

    @property
    def source(self) -> str:
        """`file:line` of its definition."""
        return self.error_class.source


_AUTH_REQUIRED = ErrorClass("auth_error", retry=False, condition=ConnectionState.AUTH_REQUIRED)
_PERMISSION_DENIED = ErrorClass("auth_error", retry=False, condition=ConnectionState.PERMISSION_DENIED)
_DEFAULTS = (
    Rule(_AUTH_REQUIRED, {401}),
    Rule(_PERMISSION_DENIED, {403}),
    Rule(ErrorClass("rate_limited", condition=ConnectionState.RATE_LIMITED), {429}),
    Rule(ErrorClass("client_error"), range(400, 500)),
    Rule(ErrorClass("server_error", breaker=Counts.FAILURE), range(500, 1000)),
    *(Rule(ErrorClass(kind, breaker=Counts.FAILURE), (), (kind,)) for kind in KINDS if kind != "reset_before_response"),
)
_STATES: Mapping[int, ConnectionState] = {
    401: ConnectionState.AUTH_REQUIRED,
    403: ConnectionState.PERMISSION_DENIED,
    429: ConnectionState.RATE_LIMITED,
}
"""What these say of a connection, whatever class they are of; unless that says otherwise."""
_NO_PLACE = ErrorClass(NO_PLACE, retry=False)
_SUCCESS = Counts.SUCCESS  # before Python 3.12, naming a member costs as much as several lines


class Classes:
    """The classes of a policy set: its own rules in order, the first that fits wins; the defaults behind them.

    statuses  by status; a success is not in it
    errors    by the transport's word for what went wrong; complete
    pause     name of the key part that outcomes of some class pause; "" = none does
    own       the set's own rules by the names of their classes, in order
    """

    __slots__ = ("_named", "errors", "own", "pause", "statuses")

    def __init__(self, rules: Sequence[Rule] = ()) -> None:
        self.own = {rule.error_class.name: rule for rule in rules}
        self.statuses: dict[int, ErrorClass] = {}
        self.errors: dict[str, ErrorClass] = {}
        for error_class, statuses, kinds in (*rules, *_DEFAULTS):
            for status in statuses:
                self.statuses.setdefault(status, _with_state(error_class, status))
            for error in frozenset().union(*(KINDS[kind] for kind in kinds)):
                self.errors.setdefault(error, error_class)
        self.errors[NO_PLACE] = _NO_PLACE
        self._named = {one.name: one for one in (*self.errors.values(), *self.statuses.values())} | self.errors
        self.pause = next((rule.error_class.pause for rule in rules if rule.error_class.pause), "")

    def counted(self, name: str, status: int) -> Counts:
        """What a breaker makes of an outcome.

        name    the class or error it was given, "" = none. Two classes may have one name: then the status decides
        status  the upstream's, 0 = no answer
        """
        by_status = self.statuses.get(status)
        if by_status is None or name not in ("", by_status.name):
            by_status = self._named.get(name, by_status)
        if by_status is not None:
            return by_status.breaker
        return _SUCCESS if status else Counts.IGNORE

    def never_retried(self, statuses: Collection[int]) -> list[int]:
        """Those of the statuses that no retry policy can have tried again."""
        return sorted(status for status in statuses if status in self.statuses and not self.statuses[status].retry)


def _with_state(error_class: ErrorClass, status: int) -> ErrorClass:
    """The class as it is for this status: one that says nothing about the connection leaves it what the status says."""
    says = error_class.condition is not None or error_class.pause or error_class.breaker is not Counts.IGNORE
    condition = None if says else _STATES.get(status)
    return error_class if condition is None else replace(error_class, condition=condition)


DEFAULT = Classes()


def statuses_in_words(statuses: Collection[int]) -> list[int | str]:
    """In order, each hundred that is there as a whole as `statuses_of` reads it."""
    whole = [first for first in range(100, 1000, 100) if {*range(first, first + 100)} <= {*statuses}]
    words: dict[int, int | str] = {status: status for status in statuses if status // 100 * 100 not in whole}
    words |= {first: f"{first // 100}xx" for first in whole}
    return [words[first] for first in sorted(words)]


def statuses_of(text: str) -> Collection[int]:
    """`503` is itself, `5xx` all of its hundred."""
    if text.endswith("xx"):
        first = int(text[0]) * 100
        return range(first, first + 100)
    return (int(text),)
