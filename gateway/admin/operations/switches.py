"""What an operator can switch while the gateway runs, on all of its workers: how much is logged, and draining.

A worker that is started later asks the others how things stand.
"""

from typing import Any

from aiohttp import web

from gateway.admin.audit import audit
from gateway.admin.endpoint import Body, Endpoint, Schema, check_members, read_order
from gateway.admin.operations.reason import REASON, WHY, asked_why, read_reason
from gateway.admin.operations.ttl import TTL, read_ttl
from gateway.admin.problems import AdminProblem, answer
from gateway.admin.view import ANSWER_S, AdminView

LEVELS = ("debug", "info", "warning", "error")
WANTED = '{"level": "debug", "ttl": "10m"}'

Document = dict[str, Any]


async def log_level(view: AdminView, request: web.Request) -> web.StreamResponse:
    """`PUT /-/log-level`: another lowest level for a while, then the settings' own again."""
    order = read_order(request, WANTED)
    check_members(order, {"level", "ttl"}, {"reason"}, WANTED)
    if order["level"] not in LEVELS:
        raise AdminProblem(400, "BAD_ORDER", f"`level` must be one of {', '.join(LEVELS)}.")
    switch = {"log_level": order["level"], "for_s": read_ttl(order["ttl"]) / 1e6}
    return await _switch(view, request, "Log level changed", "log_level.set", switch, read_reason(order))


async def drain(view: AdminView, request: web.Request) -> web.StreamResponse:
    """`POST /-/drain`: readiness fails, so that load balancers send calls elsewhere; calls that come are served."""
    return await _switch(view, request, "Drain begun", "drain.begin", {"draining": True}, asked_why(request))


async def resume(view: AdminView, request: web.Request) -> web.StreamResponse:
    """`DELETE /-/drain`: ready again."""
    return await _switch(view, request, "Drain ended", "drain.end", {"draining": False}, asked_why(request))


async def _switch(
    view: AdminView, request: web.Request, message: str, action: str, switch: Document, reason: str
) -> web.StreamResponse:
    before = view.switches.state()
    answers = await view.siblings.ask_all("switch", switch, timeout_s=ANSWER_S)
    after = view.switches.state()
    audit(request, message, action, before, after, reason)
    missing = [{"worker": one.worker, "reason": one.missing} for one in answers if one.missing]
    return answer({"before": before, "after": after, "workers": len(answers), "missing": missing})


SWITCHES: Schema = {
    "type": "object",
    "required": ["log_level", "draining"],
    "properties": {"log_level": {"enum": list(LEVELS)}, "draining": {"type": "boolean"}},
}
SWITCHED: Schema = {
    "type": "object",
    "required": ["before", "after", "workers", "missing"],
    "properties": {"before": SWITCHES, "after": SWITCHES, "workers": {"type": "integer"}, "missing": {"type": "array"}},
}
ENDPOINTS = (
    Endpoint(
        "PUT",
        "/-/log-level",
        log_level,
        "Another log level for a while.",
        body=Body(
            {
                "type": "object",
                "required": ["level", "ttl"],
                "properties": {"level": {"enum": list(LEVELS)}, "ttl": TTL, "reason": REASON},
                "additionalProperties": False,
            },
            {"level": "debug", "ttl": "10m"},
        ),
        answers={200: SWITCHED},
        errors=(400,),
    ),
    Endpoint("POST", "/-/drain", drain, "Fail readiness, and serve on.", query=(WHY,), answers={200: SWITCHED}),
    Endpoint("DELETE", "/-/drain", resume, "Be ready again.", query=(WHY,), answers={200: SWITCHED}),
)
