"""The operations on circuit breakers: those of the fleet are in the store, those of `scope: local` in every worker."""

from aiohttp import web

from gateway.admin.audit import audit
from gateway.admin.endpoint import Body, Endpoint, Query, Schema, read_order, segments
from gateway.admin.operations.breakers import (
    WANTED,
    Document,
    Order,
    Target,
    breaker_documents,
    find,
    look,
    read_force,
)
from gateway.admin.operations.local_breakers import force_everywhere, look_everywhere
from gateway.admin.operations.reason import REASON
from gateway.admin.operations.status import troubled
from gateway.admin.operations.ttl import TTL
from gateway.admin.problems import AdminProblem, answer
from gateway.admin.view import AdminView


async def every(view: AdminView, request: web.Request) -> web.StreamResponse:
    """`GET /-/breakers`: the breakers of the loaded set, or that of one name, and which callers' are not closed."""
    only = request.query.get("breaker", "")
    documents = [one for one in breaker_documents(view.policies) if only in ("", one["name"])]
    if not documents and only:
        raise AdminProblem(404, "NO_SUCH_BREAKER", f"There is no breaker {only!r}.")
    return answer({"breakers": documents, **await troubled(view, only)})


async def one(view: AdminView, request: web.Request) -> web.StreamResponse:
    """`GET /-/breakers/{breaker}/{key}`: how one caller's breaker stands."""
    return answer(await standing(view, find(view.policies, segments(request, BEHIND))))


async def hold(view: AdminView, request: web.Request) -> web.StreamResponse:
    """`POST /-/breakers/{breaker}/{key}`: hold one caller's breaker open or closed, or give it back."""
    target = find(view.policies, segments(request, BEHIND))
    order = read_force(read_order(request, WANTED))
    before, after = await obey(view, request, target, order)
    return answer({"before": before, "after": after})


async def obey(view: AdminView, request: web.Request, target: Target, order: Order) -> tuple[Document, Document]:
    """Hold it as ordered, on record; how it stood before, and stands now. Raises StoreDown."""
    before = await standing(view, target)
    if target.shared:
        change = await view.store.force(target.guard, order.state, order.for_us)
        after = await look(view.store, target)
    else:
        change = None  # each worker tells its own
        after = await force_everywhere(view, target, order)
    audit(request, "Breaker forced", "breaker.force", before, after, order.reason)
    if change is not None:
        view.breaker_changed(target.guard, change)
    return before, after


async def standing(view: AdminView, target: Target) -> Document:
    """How it stands, in the store or in every worker. Raises StoreDown."""
    return await (look(view.store, target) if target.shared else look_everywhere(view, target))


BEHIND = "/-/breakers/"
STANDING: Schema = {
    "type": "object",
    "required": ["key", "name"],
    "properties": {"state": {"enum": ["closed", "open", "half_open"]}, "workers": {"type": "array"}},
}
ENDPOINTS = (
    Endpoint(
        "GET",
        "/-/breakers",
        every,
        "Every breaker with its numbers, and which callers' (of `scope: shared`) are not closed. `?breaker=`: of one.",
        query=(Query("breaker", {"type": "string"}, "Its name."),),
        errors=(404,),
        answers={200: {"type": "object", "required": ["breakers", "not_closed"]}},
    ),
    Endpoint(
        "GET",
        "/-/breakers/{breaker}/{key}",
        one,
        "How one caller's breaker stands. Costs nothing.",
        answers={200: STANDING},
        errors=(400, 404, 503),
    ),
    Endpoint(
        "POST",
        "/-/breakers/{breaker}/{key}",
        hold,
        "Hold it open or closed for a while, or give it back.",
        body=Body(
            {
                "type": "object",
                "required": ["state"],
                "properties": {"state": {"enum": ["open", "closed", "auto"]}, "ttl": TTL, "reason": REASON},
                "additionalProperties": False,
            },
            {"state": "open", "ttl": "10m", "reason": "maintenance"},
        ),
        answers={200: {"type": "object", "required": ["before", "after"]}},
        errors=(400, 404, 503),
    ),
)
