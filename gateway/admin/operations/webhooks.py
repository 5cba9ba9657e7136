"""`/-/webhooks`: what waits for whom, what was tried lately, what is given up; and sending it again."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from gateway.admin.audit import audit
from gateway.admin.endpoint import Body, Endpoint, Schema, check_members, read_order, segments
from gateway.admin.operations.instant import INSTANT, read_instant_ms
from gateway.admin.problems import AdminProblem, answer
from gateway.admin.view import AdminView
from gateway.modules.hooks import OUT, Hooks, Queue, as_document, broken_document
from gateway.store import StoreDown
from gateway.store.shared.queues import Which

TRIES, DEAD = 50, 50
ID = "evt_5f0e7c1d9a8b4c2e6f3a1b0d"
REDRIVE_WANTED = f'{{"id": "{ID}"}}, or {{}} for all'
REPLAY_WANTED = '{"since": "2h"}, with "until" and "id" if need be'
ALL_SERVICES = ":*"
_NOT_SHOWN = frozenset({"fields", "marks", "at", "n"})


async def all_webhooks(view: AdminView, _request: web.Request) -> web.StreamResponse:
    """`GET /-/webhooks`: how every queue stands."""
    queues = view.hooks.queues if view.hooks is not None else {}
    return answer({"webhooks": [await _standing(name, queue) for name, queue in queues.items()]})


async def _standing(name: str, queue: Queue) -> dict[str, Any]:
    """How one stands, if the store has a queue there: one that it has not hides no other."""
    try:
        return as_document(name, queue, await queue.show())
    except StoreDown as down:
        if down.kind != "script":
            raise
        return broken_document(name, queue, down.detail)


async def one_receiver(view: AdminView, request: web.Request) -> web.StreamResponse:
    """One queue, with its last tries and its dead letters."""
    _, queue = _find(view, request)
    standing = await queue.show(tries=TRIES, dead=DEAD)
    document = as_document(queue.name, queue, standing)
    document["tries"] = standing.tries
    document["dead_letters"] = [_dead(letter) for letter in standing.letters]
    return answer(document)


async def redrive(view: AdminView, request: web.Request) -> web.StreamResponse:
    """`POST /-/webhooks/{receiver}/redrive`: try dead letters again."""
    queues = _find_some(view, request)
    order = read_order(request, REDRIVE_WANTED)
    check_members(order, set(), {"id"}, REDRIVE_WANTED)
    found = await _again(queues, Which.DEAD, id_=_id(order, REDRIVE_WANTED))
    audit(request, "Dead webhooks sent again", "webhooks.redrive", None, found)
    return answer(found)


async def replay(view: AdminView, request: web.Request) -> web.StreamResponse:
    """Webhooks that were delivered are delivered again."""
    queues = _find_some(view, request)
    order = read_order(request, REPLAY_WANTED)
    check_members(order, set(), {"id", "since", "until"}, REPLAY_WANTED)
    if not {"id", "since"} & order.keys():
        raise AdminProblem(400, "BAD_ORDER", f"Say which, by `since` or by `id`: {REPLAY_WANTED}.")
    after = f"{read_instant_ms('since', order['since'])}-0" if "since" in order else "-"
    to = f"{read_instant_ms('until', order['until'])}" if "until" in order else ""
    if not any(queue.receiver.keep for queue in queues):
        raise AdminProblem(409, "NOTHING_KEPT", "The settings have no `keep` for it: what was delivered is gone.")
    found = await _again(queues, Which.DELIVERED, id_=_id(order, REPLAY_WANTED), after=after, to=to)
    audit(request, "Delivered webhooks sent again", "webhooks.replay", None, {**order, **found})
    return answer(found)


async def send_test(view: AdminView, request: web.Request) -> web.StreamResponse:
    """An event that is made for this receiver."""
    hooks, queue = _find(view, request)
    if queue.direction != OUT:
        raise AdminProblem(409, "NOT_A_TARGET", "Only targets of webhooks can be sent an event; this is a service.")
    id_ = await hooks.test(queue.name)
    if not id_:
        raise AdminProblem(409, "QUEUE_FULL", f"The queue of {queue.name} is full: nothing was sent.")
    audit(request, "Webhook sent as a test", "webhooks.test", None, {"id": id_})
    return answer({"id": id_}, 202)


async def _again(queues: Sequence[Queue], which: Which, **those: str) -> dict[str, Any]:
    """Try letters of all these queues again. Raises AdminProblem when none has the id that was asked for; StoreDown."""
    found = [await queue.again(which, **those) for queue in queues]
    moved, left = sum(one.moved for one in found), sum(one.left for one in found)
    full, id_ = any(one.full for one in found), those["id_"]
    if id_ and not moved and not full:
        what = "dead letter" if which is Which.DEAD else "webhook that is kept, of that time if one is asked for,"
        raise AdminProblem(404, "NO_SUCH_WEBHOOK", f"No {what} has the id {id_!r}.")
    return {"moved": moved, "left": left, "full": full}


def _id(order: Mapping[str, Any], wanted: str) -> str:
    id_ = order.get("id", "")
    if not isinstance(id_, str) or ("id" in order and not id_):
        raise AdminProblem(400, "BAD_ORDER", f"The body must be an object like {wanted}.")
    return id_


def _find(view: AdminView, request: web.Request) -> tuple[Hooks, Queue]:
    name = _name(request)
    hooks = view.hooks
    if hooks is None or name not in hooks.queues:
        raise _unknown(name)
    return hooks, hooks.queues[name]


def _find_some(view: AdminView, request: web.Request) -> list[Queue]:
    """One, or with `SOURCE:*` those of all services behind a source."""
    name = _name(request)
    if not name.endswith(ALL_SERVICES):
        return [_find(view, request)[1]]
    queues = view.hooks.queues if view.hooks is not None else {}
    found = [queue for one, queue in queues.items() if one.startswith(name.removesuffix("*"))]
    if not found:
        raise _unknown(name)
    return found


def _name(request: web.Request) -> str:
    return unquote(segments(request, "/-/webhooks/")[0])


def _unknown(name: str) -> AdminProblem:
    return AdminProblem(404, "NO_SUCH_RECEIVER", f"There is no receiver of webhooks named {name}.")


def _dead(letter: Any) -> dict[str, Any]:
    return {name: value for name, value in letter.items() if name not in _NOT_SHOWN}


COUNTS = ("waiting", "trying", "retrying", "dead", "kept", "failures_in_a_row")
QUEUE: Schema = {
    "type": "object",
    "required": ["receiver", "direction", *COUNTS, "oldest_s", "resting_s"],
    "properties": {
        "receiver": {"type": "string"},
        "direction": {"enum": ["out", "in"]},
        **{name: {"type": ["integer", "null"]} for name in COUNTS},
        **{name: {"type": ["number", "null"]} for name in ("oldest_s", "resting_s")},
        "error": {"type": "string"},
        "tries": {"type": "array"},
        "dead_letters": {"type": "array"},
    },
}
AGAIN: Schema = {
    "type": "object",
    "required": ["moved", "left", "full"],
    "properties": {"moved": {"type": "integer"}, "left": {"type": "integer"}, "full": {"type": "boolean"}},
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
        "Send dead letters again: all, and now what waits for another try; or the one with this `id`. "
        "`crm:*` means all services of a source.",
        body=Body(
            {"type": "object", "properties": {"id": {"type": "string"}}, "additionalProperties": False},
            {"id": ID},
        ),
        answers={200: AGAIN},
        errors=(400, 404, 503),
    ),
    Endpoint(
        "POST",
        "/-/webhooks/{receiver}/replay",
        replay,
        "Send again what was delivered and is kept: by `id`, or `since` and `until` when.",
        body=Body(
            {
                "type": "object",
                "properties": {"id": {"type": "string"}, "since": INSTANT, "until": INSTANT},
                "additionalProperties": False,
            },
            {"since": "2h"},
        ),
        answers={200: AGAIN},
        errors=(400, 404, 409, 503),
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
