"""How connections are doing, as documents: one of them in full, or a page of the list. Reading costs no quota.

Everything is read from the store, so any worker of any gateway gives the same answer. While the store does not answer
there is none.
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from gateway.admin.endpoint import Endpoint, Query, Schema, segments
from gateway.admin.operations.guards import counts_by_connection, guard_documents
from gateway.admin.problems import AdminProblem, answer
from gateway.admin.view import AdminView
from gateway.core.ask import Ask
from gateway.core.connections.counts import WINDOW_US, Counts, Pair, totals
from gateway.core.connections.names import name_of
from gateway.core.connections.state import ConnectionState, Status, Track, states_matching
from gateway.core.grant import under
from gateway.core.headers import whole_seconds
from gateway.core.http.timestamps import rfc3339
from gateway.core.keys import partition_key
from gateway.core.limits import Charge, Limit
from gateway.core.policy import PolicySet
from gateway.core.units import SECOND_US
from gateway.store import Store
from gateway.store.shared.status import Statuses

PAGE, MAX_PAGE = 100, 1_000
OPERATION, ENTITY = 0, 1
NOTHING_NAMED = "(none)"
"""Calls without an operation, or whose operation has no entity."""

Document = dict[str, Any]


async def page(statuses: Statuses, query: Mapping[str, str]) -> Document:
    """The answer to `GET /-/connections`. Raises AdminProblem, StoreDown."""
    states = _states(query.get("state"))
    count, after = _count(query.get("limit")), _cursor(query.get("cursor"))
    found = await statuses.page(states, after, count)
    document: Document = {"connections": [summary(status) for status in found.statuses]}
    if found.after:
        document["next"] = base64.urlsafe_b64encode(found.after.encode()).decode().rstrip("=")
    return document


def _states(text: str | None) -> Sequence[ConnectionState]:
    states = states_matching(text) if text is not None else list(ConnectionState)
    if states is None:
        known = ", ".join(ConnectionState)
        raise AdminProblem(
            400, "UNKNOWN_STATE", f"`state` must be one or more of {known}; `!` before a name excludes it."
        )
    return states


def _count(text: str | None) -> int:
    if text is None:
        return PAGE
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= MAX_PAGE):
        raise AdminProblem(400, "BAD_PAGE", f"`limit` must be a number from 1 to {MAX_PAGE}.")
    return int(text)


def _cursor(text: str | None) -> str:
    try:
        return base64.b64decode(f"{text}{'=' * (-len(text) % 4)}", b"-_", validate=True).decode() if text else ""
    except (binascii.Error, UnicodeError, ValueError):
        raise AdminProblem(400, "BAD_PAGE", "`cursor` must be the `next` of the previous page.") from None


async def one(statuses: Statuses, store: Store, policies: PolicySet, name: str, tenant: str | None) -> Document:
    """The answer to `GET /-/connections/{id}`. `tenant`: None = whoever has a connection of that name.

    Raises AdminProblem, StoreDown.
    """
    status = await find(statuses, name, tenant)
    parts = {"connection": name, "tenant": (tenant or status.named.tenant) or None}
    limits = await _limits(store, policies, parts)
    guards = await guard_documents(store, policies, parts)
    return {**summary(status), **_counts(status.track), "limits": limits, **guards, "store": store.kind}


async def find(statuses: Statuses, name: str, tenant: str | None) -> Status:
    """The connection of that name. Raises AdminProblem when there is none, or several; StoreDown."""
    named = name_of(tenant or "", name)
    found = await statuses.find(named.connection, None if tenant is None else named.tenant)
    if not found:
        whose = "" if tenant is None else f" of tenant {tenant!r}" if tenant else " without a tenant"
        message = f"No call has named a connection {name!r}{whose} in the last seven days."
        raise AdminProblem(404, "NO_SUCH_CONNECTION", message)
    if len(found) > 1:
        raise several(found)
    return found[0]


def several(found: Sequence[Status]) -> AdminProblem:
    """The problem that a name alone does not say which of these connections is meant."""
    owners = ", ".join(repr(status.named.tenant) for status in found)
    return AdminProblem(409, "SEVERAL_CONNECTIONS", f"Several tenants have it: say whose (tenant), {owners}.")


def summary(status: Status) -> Document:
    """One connection as the list shows it."""
    (tenant, connection), track = status
    return {
        "connection": connection,
        "tenant": tenant or None,
        "state": track.state,
        "since": _time(track.since_us),
        "last_success_at": _time(track.success_us),
        "last_failure": _failure(track),
    }


def _failure(track: Track) -> Document | None:
    failure = track.failure
    if failure.at_us < 0:
        return None
    return {
        "at": _time(failure.at_us),
        "class": failure.error_class,
        "status": failure.status or None,
        "operation": failure.operation or None,
        "entity": failure.entity or None,
        "request_id": failure.request_id,
    }


def _counts(track: Track) -> Document:
    sums = totals(track.buckets)
    return {
        "counted_s": WINDOW_US // SECOND_US,
        "operations": _grouped(sums, OPERATION),
        "entities": _grouped(sums, ENTITY),
    }


def _grouped(sums: Mapping[Pair, Counts], by: int) -> Document:
    groups: dict[str, Counts] = {}
    for pair, counts in sums.items():
        group = pair[by] or NOTHING_NAMED
        groups[group] = groups.get(group, Counts()).plus(counts)
    return {group: groups[group]._asdict() for group in sorted(groups)}


async def _limits(store: Store, policies: PolicySet, parts: Mapping[str, str | None]) -> Document:
    """What is left of the limits that count by this connection, alone or together with its tenant."""
    charges = [_charge(limit, parts) for limit in policies.limits.values() if counts_by_connection(limit.key, parts)]
    if not charges:
        return {}
    ask = Ask(charges)
    decision = await store.peek(ask)
    if decision.quotas:
        charges = list(under(ask, decision.quotas).charges)
    return {
        charge.limit.name: {
            "limit": charge.limit.quota,
            "remaining": verdict.remaining,
            "reset_s": whole_seconds(verdict.reset_us),
        }
        for charge, verdict in zip(charges, decision.verdicts, strict=True)
    }


def _charge(limit: Limit, parts: Mapping[str, str | None]) -> Charge:
    return Charge(limit.for_caller(parts), partition_key(limit, parts), 1)


def _time(at_us: int) -> str | None:
    """None when it never was."""
    return rfc3339(at_us) if at_us >= 0 else None


async def listed(view: AdminView, request: web.Request) -> web.StreamResponse:
    """`GET /-/connections`: a page of the list."""
    return answer(await page(view.statuses, request.query))


async def named(view: AdminView, request: web.Request) -> web.StreamResponse:
    """`GET /-/connections/{id}`: everything known of one."""
    segment, *more = segments(request, BEHIND)
    if more:
        raise web.HTTPNotFound
    name, tenant = unquote(segment, errors="surrogateescape"), request.query.get("tenant")
    return answer(await one(view.statuses, view.store, view.policies, name, tenant))


BEHIND = "/-/connections/"
_ONE = f"!?({'|'.join(ConnectionState)})"
SUMMARY: Schema = {
    "type": "object",
    "required": ["connection", "tenant", "state", "since", "last_success_at", "last_failure"],
    "properties": {"state": {"enum": list(ConnectionState)}},
}
ENDPOINTS = (
    Endpoint(
        "GET",
        "/-/connections",
        listed,
        "How connections are doing, those in trouble first. `?state=!online`: only those.",
        query=(
            Query(
                "state",
                {"type": "string", "pattern": f"^{_ONE}(,{_ONE})*$"},
                "Names of states separated by commas; `!` before a name excludes it.",
            ),
            Query("limit", {"type": "integer", "minimum": 1, "maximum": MAX_PAGE}, "How many on a page."),
            Query("cursor", {"type": "string"}, "The `next` of the previous page."),
        ),
        answers={
            200: {
                "type": "object",
                "required": ["connections"],
                "properties": {"connections": {"type": "array", "items": SUMMARY}, "next": {"type": "string"}},
            }
        },
        errors=(400, 503),
    ),
    Endpoint(
        "GET",
        "/-/connections/{id}",
        named,
        "One connection: state, last success and failure, counts, what is left. Costs nothing.",
        query=(Query("tenant", {"type": "string"}, "Whose, if several tenants have one of this name."),),
        answers={200: SUMMARY},
        errors=(404, 409, 503),
    ),
)
