"""Testing a connection at an operator's request."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from gateway.admin.endpoint import Endpoint, Query, Schema, segments
from gateway.admin.operations.connections import BEHIND, several
from gateway.admin.problems import AdminProblem, answer
from gateway.admin.view import AdminView
from gateway.core.connections.names import MAX_NAME_CHARS, as_said, owners
from gateway.core.upstream import Upstream
from gateway.store.shared.status import known_as

MOST_UPSTREAMS = 8


async def test(view: AdminView, request: web.Request) -> web.StreamResponse:
    """All upstreams that it leads to, or the one that is named."""
    segment, *_ = segments(request, BEHIND)
    name, tenant = unquote(segment, errors="surrogateescape"), request.query.get("tenant")
    if not name.isprintable() or max(len(name), len(tenant or "")) > MAX_NAME_CHARS:
        raise AdminProblem(400, "BAD_QUESTION", "Names of connections and tenants are printable and not that long.")
    if tenant is None:
        tenant = await _known_owner(view, name)
    chosen = _upstreams(view, name, tenant, request.query.get("upstream"))
    found = await asyncio.gather(*[view.check_connection(name, tenant, one) for one in chosen])
    return answer({"connection": name, "tenant": tenant or None, "ok": _works(found), "upstreams": found})


async def _known_owner(view: AdminView, name: str) -> str:
    """The one tenant who has a connection of this name. "" = none is known, or calls without a tenant have it, too, or
    the tenant is only known by a hash. Raises AdminProblem when there are several; while the store is away nobody is
    known.
    """
    found = await known_as(view.statuses, name)
    tenant, *others = owners(status.named for status in found)
    if others:
        raise several(found)
    return as_said(tenant)


def _works(found: Sequence[Mapping[str, Any]]) -> bool | None:
    """None = none failed, but of one it cannot be told."""
    verdicts = [one["ok"] for one in found]
    return False if False in verdicts else None if None in verdicts else True


def _upstreams(view: AdminView, name: str, tenant: str, wanted: str | None) -> list[Upstream]:
    if wanted is not None:
        if wanted not in view.policies.upstreams:
            raise AdminProblem(404, "NO_SUCH_UPSTREAM", f"No upstream of the loaded set is called {wanted!r}.")
        return [view.policies.upstreams[wanted]]
    found = list(view.upstreams_of(name, tenant))
    if not found:
        detail = "No route reads a key part `connection`: say which upstream is meant (upstream)."
        raise AdminProblem(404, "NO_SUCH_UPSTREAM", detail)
    if len(found) > MOST_UPSTREAMS:
        raise AdminProblem(409, "SEVERAL_UPSTREAMS", f"It may lead to {len(found)} upstreams: say which (upstream).")
    return found


STEP: Schema = {
    "type": "object",
    "required": ["step", "ok", "took_ms", "detail"],
    "properties": {"step": {"enum": ["dns", "tcp", "socket", "tls", "token", "http", "credentials"]}},
}
TESTED: Schema = {
    "type": "object",
    "required": ["connection", "tenant", "ok", "upstreams"],
    "properties": {
        "ok": {"type": ["boolean", "null"]},
        "upstreams": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["upstream", "ok", "took_ms", "request", "credentials", "request_id", "steps"],
                "properties": {"steps": {"type": "array", "items": STEP}},
            },
        },
    },
}
ENDPOINTS = (
    Endpoint(
        "POST",
        "/-/connections/{id}/test",
        test,
        "Test a connection: name, socket, TLS, credentials, an answer; each timed. Charges nothing.",
        query=(
            Query(
                "tenant",
                {"type": "string"},
                "Whose it is; else that of the one tenant who is known to have it.",
            ),
            Query("upstream", {"type": "string"}, "Only this one, of several that it may lead to."),
        ),
        answers={200: TESTED},
        errors=(404, 409),
    ),
)
