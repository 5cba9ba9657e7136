"""Answers that are kept, and are wanted gone: in every worker of this gateway, and in the store for those of all."""

from aiohttp import web

from gateway.admin.audit import audit
from gateway.admin.endpoint import Endpoint, Query, Schema
from gateway.admin.problems import AdminProblem, answer
from gateway.admin.view import AdminView

ANSWER_S = 10.0


async def purge(view: AdminView, request: web.Request) -> web.StreamResponse:
    """Forget answers: of one route, of one tenant, to what begins like this; all if nothing is said."""
    wanted = {name: request.query.get(name) for name in ("route", "tenant", "prefix")}
    kept = [route.name for route in view.policies.routes if route.cache is not None]
    if wanted["route"] is not None and wanted["route"] not in kept:
        raise AdminProblem(404, "NO_SUCH_CACHE", f"No route {wanted['route']!r} keeps answers.")
    answers = await view.siblings.ask_all("purge_cache", wanted, timeout_s=ANSWER_S)
    counts = {name: sum(one.payload.get(name, 0) for one in answers) for name in ("workers", "store")}
    missing = [{"worker": one.worker, "reason": one.missing} for one in answers if one.missing]
    found = {"purged": counts, "missing": missing}
    audit(request, "Cache purged", "cache.purge", {name: one for name, one in wanted.items() if one is not None}, found)
    return answer(found)


_TEXT: Schema = {"type": "string"}
ENDPOINTS = (
    Endpoint(
        "DELETE",
        "/-/cache",
        purge,
        "Forget answers that [caches](cache.md) keep. `?route=`, `?tenant=`, `?prefix=`: only those.",
        query=(
            Query("route", _TEXT, "Name of the route that keeps them."),
            Query("tenant", _TEXT, "Whose call brought them; empty: of callers without one."),
            Query("prefix", _TEXT, "What the upstream was asked for begins like this: its path, then its query."),
        ),
        answers={200: {"type": "object", "required": ["purged", "missing"]}},
        errors=(404,),
    ),
)
