"""`/-/reload`: read the files again, and how the last time went."""

from typing import Any

from aiohttp import web

from gateway.admin.audit import audit
from gateway.admin.endpoint import Endpoint, Query, Schema
from gateway.admin.problems import AdminProblem, answer
from gateway.admin.view import AdminView, Reloads

REPLACE_S = 5.0
STATUS = {"loaded": 200, "unchanged": 200, "rejected": 422, "failed": 503}
OUTCOME: Schema = {
    "type": "object",
    "required": ["result"],
    "properties": {
        "result": {"enum": [*STATUS, "none"]},
        "version": {"type": "string"},
        "why": {"enum": ["watch", "signal", "admin"]},
        "at": {"type": "string"},
        "took_ms": {"type": "integer"},
        "errors": {
            "type": "array",
            "items": {"type": "object", "required": ["file", "line", "col", "code", "message"]},
        },
        "warnings": {"type": "integer"},
        "changes": {"type": "object"},
        "diff": {"type": "array", "items": {"type": "object", "required": ["section", "name", "what"]}},
        "settings": {"type": "object"},
        "detail": {"type": "string"},
        "replaced_workers": {"type": "integer"},
    },
}
WORKERS = Query(
    "workers", {"type": "string"}, "With it every worker is then replaced by a new one, without losing a call."
)


def last(reloads: Reloads) -> dict[str, Any]:
    """How the last reload went; `{"result": "none"}` before the first."""
    return reloads.last.as_dict() if reloads.last is not None else {"result": "none"}


async def reload(view: AdminView, request: web.Request) -> web.StreamResponse:
    """`POST /-/reload`: read the files; with `?workers`, then have the workers replaced."""
    workers = "workers" in request.query
    if workers and view.siblings.alone:
        raise AdminProblem(
            409, "ONE_WORKER", "A gateway of one worker cannot replace it while it serves: restart the gateway."
        )
    before = view.policies.version
    outcome = await view.reload.ask("admin", for_successors=workers)
    document, status = outcome.as_dict(), STATUS[outcome.result]
    audit(request, "Reload", "reload", {"version": before}, {"version": document["version"]})
    if workers and status == 200:
        order = await view.siblings.ask_supervisor("workers.replace", {}, timeout_s=REPLACE_S)
        if order.missing:
            raise AdminProblem(503, "NOT_REPLACED", f"The workers are not being replaced: {order.missing}.")
        document["replaced_workers"] = order.payload["workers"]
    return answer(document, status)


async def last_reload(view: AdminView, _request: web.Request) -> web.StreamResponse:
    """`GET /-/reload`: how the last reload went, as this worker knows it."""
    return answer(last(view.reload))


ENDPOINTS = (
    Endpoint(
        "GET",
        "/-/reload",
        last_reload,
        "How the last reload went; also in `/readyz?verbose`.",
        answers={200: OUTCOME},
    ),
    Endpoint(
        "POST",
        "/-/reload",
        reload,
        "Read the files again: [reload](reload.md). `?workers`: then replace every worker by a new one.",
        query=(WORKERS,),
        answers={200: OUTCOME, 422: OUTCOME, 503: OUTCOME},
        errors=(409,),
    ),
)
