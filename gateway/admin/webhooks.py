"""`/-/webhooks`: what waits for whom, what was tried lately, what is given up; and sending it again."""

from typing import Any
from urllib.parse import unquote

from aiohttp import web

from gateway.admin.audit import audit
from gateway.admin.endpoint import Body, Endpoint, Schema, check_members, read_order, segments
from gateway.admin.problems import AdminProblem, answer, unavailable
from gateway.admin.view import AdminView
from gateway.modules.hooks import OUT, Hooks, Queue, as_document
from gateway.store import StoreDown

TRIES, DEAD = 50, 50
MOST_MOVED = 1_000
WANTED = '{"id": "evt_5f0e7c1d9a8b4c2e6f3a1b0d"}, or {} for all'
_NOT_SHOWN = frozenset({"fields", "marks", "at", "n"})


async def all_webhooks(view: AdminView, _request: web.Request) -> web.StreamResponse:
    """How every queue stands."""
    queues = view.hooks.queues if view.hooks is not None else {}
    try:
        found = [as_document(name, queue, await queue.show()) for name, queue in queues.items()]
    except StoreDown as down:
        raise unavailable(down) from None
    return answer({"webhooks": found})


async def one_receiver(view: AdminView, request: web.Request) -> web.StreamResponse:
    """One queue, with its last tries and its dead letters."""
    _, queue = _find(view, request)
    try:
        standing = await queue.show(tries=TRIES, dead=DEAD)
    except StoreDown as down:
        raise unavailable(down) from None
    document = as_document(queue.name, queue, standing)
    document["tries"] = standing.tries
    document["dead_letters"] = [_dead(letter) for letter in standing.letters]
    return answer(document)


async def redrive(view: AdminView, request: web.Request) -> web.StreamResponse:
    """Dead letters are tried again."""
    _, queue = _find(view, request)
    order = await read_order(request, WANTED)
    check_members(order, set(), {"id"}, WANTED)
    id_ = order.get("id", "")
    if not isinstance(id_, str):
        raise AdminProblem(400, "BAD_ORDER", f"The body is an object like {WANTED}.")
    try:
        moved, left = await queue.redrive(count=MOST_MOVED, id_=id_)
    except StoreDown as down:
        raise unavailable(down) from None
    audit(request, "Dead webhooks sent again", "webhooks.redrive", None, {"moved": moved, "left": left})
    return answer({"moved": moved, "left": left})


async def send_test(view: AdminView, request: web.Request) -> web.StreamResponse:
    """An event that is made for this receiver."""
    hooks, queue = _find(view, request)
    if queue.direction != OUT:
        raise AdminProblem(409, "NOT_A_TARGET", "Only targets of webhooks can be sent an event; this is a service.")
    try:
        id_ = await hooks.test(queue.name)
    except StoreDown as down:
        raise unavailable(down) from None
    audit(request, "Webhook sent as a test", "webhooks.test", None, {"id": id_})
    return answer({"id": id_}, 202)


def _find(view: AdminView, request: web.Request) -> tuple[Hooks, Queue]:
    name = unquote(segments(request, "/-/webhooks/")[0])
    hooks = view.hooks
    if hooks is None or name not in hooks.queues:
        raise AdminProblem(404, "NO_SUCH_RECEIVER", f"There is no receiver of webhooks named {name}.")
    return hooks, hooks.queues[name]


def _dead(letter: Any) -> dict[str, Any]:
    return {name: value for name, value in letter.items() if name not in _NOT_SHOWN}


QUEUE: Schema = {
    "type": "object",
    "required": ["receiver", "direction", "waiting", "trying", "retrying", "dead", "oldest_s", "resting_s"],
    "properties": {
        "receiver": {"type": "string"},
        "direction": {"enum": ["out", "in"]},
        **{name: {"type": "integer"} for name in ("waiting", "trying", "retrying", "dead", "failures_in_a_row")},
        **{name: {"type": "number"} for name in ("oldest_s", "resting_s")},
        "tries": {"type": "array"},
        "dead_letters": {"type": "array"},
    },
}
ENDPOINTS = (
    Endpoint(
        "GET",
        "/-/webhooks",
        all_webhooks,
        "What waits for each receiver of [webhooks](webhooks.md) and each service behind the [intake](intake.md).",
        answers={
            200: {
                "type": "object",
                "required": ["webhooks"],
                "properties": {"webhooks": {"type": "array", "items": QUEUE}},
            }
        },
        errors=(503,),
    ),
    Endpoint(
        "GET",
        "/-/webhooks/{receiver}",
        one_receiver,
        "One of them, with its last 50 tries and its newest 50 dead letters.",
        answers={200: QUEUE},
        errors=(404, 503),
    ),
    Endpoint(
        "POST",
        "/-/webhooks/{receiver}/redrive",
        redrive,
        "Send dead letters again: all (1,000 at a time), or the one with this `id`.",
        body=Body(
            {"type": "object", "properties": {"id": {"type": "string"}}, "additionalProperties": False},
            {"id": "evt_5f0e7c1d9a8b4c2e6f3a1b0d"},
        ),
        answers={
            200: {
                "type": "object",
                "required": ["moved", "left"],
                "properties": {"moved": {"type": "integer"}, "left": {"type": "integer"}},
            }
        },
        errors=(400, 404, 415, 503),
    ),
    Endpoint(
        "POST",
        "/-/webhooks/{receiver}/test",
        send_test,
        "Send a target the event `webhook.test`, whatever it subscribed to.",
        answers={202: {"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}}}},
        errors=(404, 409, 503),
    ),
)
