"""Lines of the access log as rows of numbers: when, who and what came of it, as a candidate policy sees it."""

from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache, partial
from typing import Any, NamedTuple

import orjson

from gateway.core.caller import key_values
from gateway.core.classes import NO_PLACE
from gateway.core.keys import KeyFrom, OnMissing
from gateway.core.policy import PolicySet, Route
from gateway.core.preview.recorded import ACCESS, Recorded, assumed, recorded, untold
from gateway.core.problems import (
    AUTHENTICATION_UNAVAILABLE,
    BAD_REQUESTS,
    CIRCUIT_OPEN,
    CREDENTIALS_MISSING,
    CREDENTIALS_REFUSED,
    CREDENTIALS_UNAVAILABLE,
    FORBIDDEN,
    KEY_MISSING,
    LOOP,
    NO_ROUTE,
    NOT_CACHED,
    OVERLOADED,
    PAUSED,
    STORE_DOWN,
    UNAUTHENTICATED,
    Refusal,
)
from gateway.core.routing.resolve import Resolved, resolve
from gateway.core.webhooks.intake import ROUTE as INTAKE_ROUTE
from gateway.observe.log.events import DROPPED
from gateway.observe.log.native import native
from gateway.observe.log.text import MAX_JSON_INTEGER

MOST_KNOWN = 50_000
_ADMITTED, _REFUSED = 0, 1
_USUAL = "2026-11-21T05:30:00.123456Z"
_NEVER_ASKED = frozenset(
    kind.code
    for kind in (
        *BAD_REQUESTS.values(),
        UNAUTHENTICATED,
        FORBIDDEN,
        AUTHENTICATION_UNAVAILABLE,
        CREDENTIALS_REFUSED,
        CREDENTIALS_UNAVAILABLE,
        LOOP,
        NOT_CACHED,
        OVERLOADED,
        CIRCUIT_OPEN,
        PAUSED,
        STORE_DOWN,
    )
)
"""Codes of answers that say nothing about limits: no other limit would have changed them."""
_NOT_IDENTIFIED = frozenset({NO_ROUTE.code, KEY_MISSING.code, CREDENTIALS_MISSING.code})
_WATCHED = "shadow_limited"


class Kind(NamedTuple):
    """Calls that are alike to the candidate: same route, operation, caller. refused: code of its own refusal, or "".

    tenant            the account of calls that name no tenant
    route, operation  positions in the policy set and in the route; -1 = none
    """

    route: int
    operation: int
    parts: tuple[str | None, ...]
    tenant: str
    refused: str


class Extra(NamedTuple):
    """What few lines have. fired: the limits that refused, or would have in shadow, or a code. attempts: microseconds
    from the beginning to each further one. costs: real ones. given_back: there was no place for it at the upstream, so
    it cost nothing."""

    fired: tuple[str, ...] = ()
    attempts: tuple[int, ...] = ()
    costs: tuple[tuple[str, int], ...] = ()
    given_back: bool = False


@dataclass(slots=True)
class Rows:
    """The calls of some lines, in their order. Row i: began_us[i], lasted_us[i], kind[i] in `kinds`, refused[i].

    extras        by row
    unreadable    lines that are no JSON object, or lack what a call must have
    other         lines about something else
    never_asked   calls that were answered before any limit was asked
    missing       lines that the log once had, or should have had: sampled out, or dropped
    """

    began_us: "array[int]" = field(default_factory=lambda: array("q"))
    lasted_us: "array[int]" = field(default_factory=lambda: array("q"))
    kind: "array[int]" = field(default_factory=lambda: array("q"))
    refused: bytearray = field(default_factory=bytearray)
    kinds: list[Kind] = field(default_factory=list)
    extras: dict[int, Extra] = field(default_factory=dict)
    unreadable: int = 0
    other: int = 0
    never_asked: int = 0
    missing: int = 0


class Reader:
    """Understands lines for one candidate policy."""

    def __init__(self, policies: PolicySet) -> None:
        self._policies = policies
        self._routes = {id(route): number for number, route in enumerate(policies.routes)}
        rejecting = any(policies.keys[name].on_missing is OnMissing.REJECT for name in untold(policies))
        self._never_asked = (
            _NEVER_ASKED | {KEY_MISSING.code} if rejecting else _NEVER_ASKED
        )  # nobody knows which it was
        self._assume = lru_cache(MOST_KNOWN)(partial(assumed, policies))
        self._places: dict[tuple[Any, ...], Place] = {}
        self._shared: dict[tuple[Any, ...], Place] = {}
        self._remembered = 0
        self._second, self._second_us = "", 0

    def rows(self, text: bytes) -> Rows:
        """The rows of whole lines. Never raises for what stands in them."""
        rows, numbers = Rows(), dict[int, int]()
        for one in text.split(b"\n"):
            if not one.strip():
                continue
            try:
                line = orjson.loads(one)
                self._add(rows, numbers, line)
            except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
                rows.unreadable += 1
        return rows

    def _add(self, rows: Rows, numbers: dict[int, int], line: Mapping[str, Any]) -> None:
        if "event_name" not in line:
            line = native(line)
        rows.missing += _missing(line)
        if line.get("event_name") != ACCESS or str(line.get("route")).startswith(INTAKE_ROUTE):
            rows.other += 1
            return
        code, decision = line.get("problem_code", ""), line["decision"]
        kept = decision == "unlimited" and line.get("response_source") == "cache"
        if decision == "held" or kept or code in self._never_asked or "method" not in line:
            rows.never_asked += 1
            return
        lasted_us = round(line["duration_ms"] * 1000)
        began_us = self._ended_us(line["timestamp"]) - lasted_us
        kind = self._kind(line)
        number = numbers.get(id(kind))
        if number is None:
            number = numbers[id(kind)] = len(rows.kinds)
            rows.kinds.append(kind)  # holding it keeps its identity its own
        refused = decision == "limited" or code in _NOT_IDENTIFIED
        if refused or decision == _WATCHED or "attempts" in line or "cost_settled" in line:
            rows.extras[len(rows.kind)] = _extra(line, code, refused=refused)
        rows.began_us.append(began_us)
        rows.lasted_us.append(lasted_us)
        rows.kind.append(number)
        rows.refused.append(_REFUSED if refused else _ADMITTED)

    def _ended_us(self, timestamp: str) -> int:
        """Lines come many a second: the fraction is all that is new."""
        second, fraction = timestamp[:19], timestamp[20:26]
        if len(timestamp) != len(_USUAL) or timestamp[19] != "." or timestamp[26] != "Z" or not fraction.isdigit():
            return _moment_us(timestamp)
        if second != self._second:
            self._second_us, self._second = _moment_us(f"{second}Z"), second
        return self._second_us + int(fraction)

    def _kind(self, line: Mapping[str, Any]) -> Kind:
        get = line.get
        said = (line["method"], line["path"], get("query"), get("http_host"), get("route"), get("operation"))
        place = self._places.get(said) or self._find_place(said)
        who = (get("tenant"), get("account"), get("connection"), get("client_ip") if place.by_address else None)
        return place.callers.get(who) or self._find_caller(place, who, line)

    def _find_place(self, said: tuple[Any, ...]) -> "Place":
        """Where such lines lead."""
        method, path, query, host, route, operation = (one if isinstance(one, str) else "" for one in said)
        head = Recorded(method, f"{path}?{query}" if query else path, host, "", self._assume(route, operation))
        place = self._place(resolve(self._policies, head, host), route, operation)
        if len(self._places) >= MOST_KNOWN:
            self._places.clear()
        self._places[said] = place
        return place

    def _place(self, found: Resolved | Refusal, route: str, operation: str) -> "Place":
        """Lines of many paths share one, unless the path says who is calling. route, operation: what they had then."""
        if isinstance(found, Refusal):
            alike: tuple[Any, ...] = (found.kind.code,)
        elif found.route.line_keys:
            return Place(found, {}, _by_address(found.route))
        else:
            alike = (id(found.route), id(found.operation), route, operation)
        place = self._shared.get(alike)
        if place is None:
            by_address = not isinstance(found, Refusal) and _by_address(found.route)
            place = self._shared[alike] = Place(found, {}, by_address)
        return place

    def _find_caller(self, place: "Place", who: tuple[Any, ...], line: Mapping[str, Any]) -> Kind:
        call = recorded(line, self._assume)
        if call is None:
            raise ValueError("a line about a call without its request")
        self._remembered += 1
        if self._remembered > MOST_KNOWN:
            self._remembered = 0
            self._shared.clear()
            self._places.clear()
        kind = place.callers[who] = self._identify(place.found, call)
        return kind

    def _identify(self, found: Resolved | Refusal, call: Recorded) -> Kind:
        tenant = call.known["tenant"] or call.known["account"] or ""
        if isinstance(found, Refusal):
            return Kind(-1, -1, (), tenant, found.kind.code)
        parts = key_values(found, call.headers, call.client_ip, None)
        if isinstance(parts, Refusal):
            return Kind(-1, -1, (), tenant, parts.kind.code)
        route, operation = found.route, found.operation
        values = tuple(call.known.get(name, value) for name, value in parts.items())
        position = -1 if operation is None else route.operations.index(operation)
        return Kind(self._routes[id(route)], position, values, tenant, "")


class Place(NamedTuple):
    """Where lines lead, and who calls there.

    callers     by what lines say of them: tenant, account, connection, address
    by_address  whether the address says who is calling
    """

    found: Resolved | Refusal
    callers: dict[tuple[Any, ...], Kind]
    by_address: bool


def _by_address(route: Route) -> bool:
    return any(part.source is KeyFrom.CLIENT_IP for part in route.keys)


def _missing(line: Mapping[str, Any]) -> int:
    """Lines that are not there, as far as this one tells of them."""
    count = line.get("count") if line.get("event_name") == DROPPED else line.get("sampled_out")
    return count if isinstance(count, int) and 0 < count <= MAX_JSON_INTEGER else 0


def _moment_us(timestamp: str) -> int:
    return int(datetime.fromisoformat(timestamp).timestamp() * 1e6 + 0.5)


def _extra(line: Mapping[str, Any], code: str, *, refused: bool) -> Extra:
    costs: tuple[tuple[str, int], ...] = ()
    if line.get("cost_settled"):
        costs = tuple((one["name"], int(one["cost"])) for one in line.get("limits", ()))
    given_back = bool(costs) and code == "UPSTREAM_BUSY" and "upstream_addr" not in line
    return Extra(_fired(line, code if refused else ""), tuple(_starts(line.get("attempts", ()))), costs, given_back)


def _fired(line: Mapping[str, Any], code: str) -> tuple[str, ...]:
    """The limits that refused the call, `limit_fired` first; `code` where it was none. Of a call that was let in those
    that would have refused it."""
    if not line.get("limit_fired"):
        return (code,) if code else ()
    limits = line.get("limits", ())
    if line["decision"] == _WATCHED:
        return tuple(one["name"] for one in limits if one["decision"] == _WATCHED)
    refusing = [one["name"] for one in limits if (one["mode"], one["decision"]) == ("enforce", "limited")]
    return tuple(dict.fromkeys([line["limit_fired"], *refusing]))


def _starts(attempts: Any) -> "list[int]":
    """When each further attempt that was charged began, in microseconds from the first one's beginning. One for which
    there was no place was given back what it was charged, and nothing was charged for the race for a kept socket."""
    found, at_ms, before = [], 0.0, None
    for attempt in attempts:
        at_ms += attempt.get("wait_ms", 0.0)
        unsent = attempt.get("error_class") == NO_PLACE and "status" not in attempt
        if before is not None and not unsent and ("wait_ms" in attempt or "token_renewed" in before):
            found.append(round(at_ms * 1000))
        at_ms += attempt.get("queue_ms", 0.0) + attempt.get("upstream_ms", 0.0)
        before = attempt
    return found
