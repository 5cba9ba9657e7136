"""What would happen to a call now, and why. Charges nothing."""

from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web

from gateway.admin.endpoint import Body, Endpoint, Schema, check_members, read_order
from gateway.admin.problems import AdminProblem, answer
from gateway.admin.view import AdminView
from gateway.core.ask import Ask
from gateway.core.grant import Grant
from gateway.core.limits import Decision
from gateway.core.preview.explain import explain
from gateway.core.problems import Refusal
from gateway.core.routing.resolve import resolve
from gateway.policy.explained import explained
from gateway.policy.sent import sent
from gateway.store import Store, StoreDown
from gateway.wire.asked import BadAsked, asked, asked_from

WANTED = '{"method": "POST", "path": "/erp/products", "headers": [["X-Tenant-Id", "acme"]]}'
MOST_FIELDS = 200

Fields = list[tuple[str, str]]


async def explain_call(view: AdminView, request: web.Request) -> web.StreamResponse:
    """The explanation, with counters and states as they are now."""
    order = read_order(request, WANTED)
    check_members(order, {"method", "path"}, {"headers", "keys", "client_ip"}, WANTED)
    method, path, client_ip = (_text(order.get(name, ""), name) for name in ("method", "path", "client_ip"))
    fields, keys = _fields(order.get("headers", [])), _keys(order.get("keys", {}))
    try:
        call, client_ip = asked(method, path, fields), asked_from(client_ip)
    except BadAsked as bad:
        raise AdminProblem(400, "BAD_ORDER", f"{bad}.") from None
    policies = view.policies
    resolved = resolve(policies, call, call.http_host)
    schemes = () if isinstance(resolved, Refusal) else resolved.route.authenticate
    identity = await view.authenticate(schemes, call.headers) if schemes else None
    explanation = explain(
        policies,
        call,
        call.http_host,
        client_ip=client_ip,
        identity=identity,
        known=keys,
        realm=view.settings.name,
    )
    counted = await _counted(view.store, explanation.ask)
    head = sent(explanation, call, client_ip, policies, view.settings)
    return answer(explained(call, call.http_host, explanation, policies, sent=head, **counted))


async def _counted(store: Store, ask: Ask | None) -> dict[str, Any]:
    """What the store says to the call's question: arguments of `explained`."""
    if ask is None or not (ask.charges or ask.guards):
        return {}
    try:
        decision = await store.peek(ask)
        return {"decision": decision, "grants": await _grants(store, ask, decision)}
    except StoreDown as down:
        return {"away": down.kind}


async def _grants(store: Store, ask: Ask, decision: Decision) -> dict[str, Grant]:
    """By the names of limits. Nothing is asked while there are none."""
    charges = [charge for charge, quota in zip(ask.charges, decision.quotas, strict=False) if quota]
    found = [(charge.limit.name, (await store.granted(charge))[1]) for charge in charges]
    return {name: grant for name, grant in found if grant is not None}


def _text(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise AdminProblem(400, "BAD_ORDER", f"`{name}` must be a text.")
    return value


def _fields(given: object) -> Fields:
    """From pairs, or from an object."""
    pairs: Sequence[Any] = (
        list(given.items()) if isinstance(given, Mapping) else given if isinstance(given, list) else [0]
    )
    if len(pairs) > MOST_FIELDS or not all(_is_pair(pair) for pair in pairs):
        raise AdminProblem(
            400, "BAD_ORDER", f"`headers` must be a list of at most {MOST_FIELDS} pairs of name and value."
        )
    return [(name, value) for name, value in pairs]


def _is_pair(pair: object) -> bool:
    return isinstance(pair, list | tuple) and len(pair) == 2 and all(isinstance(text, str) for text in pair)


def _keys(given: object) -> dict[str, str | None]:
    if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
        raise AdminProblem(400, "BAD_ORDER", "`keys` must be an object of key parts and their values.")
    return given


_NAME = "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"
_FIELD: Schema = {"type": "string", "pattern": _NAME}
_VALUE: Schema = {"type": "string", "pattern": r"^[^\x00-\x08\x0a-\x1f\x7f]*$"}
ORDER = Body(
    {
        "type": "object",
        "required": ["method", "path"],
        "properties": {
            "method": {"type": "string", "pattern": _NAME},
            "path": {"type": "string", "pattern": "^/[!-~]*$"},
            "headers": {
                "oneOf": [
                    {
                        "type": "array",
                        "maxItems": MOST_FIELDS,
                        "items": {"type": "array", "prefixItems": [_FIELD, _VALUE], "minItems": 2, "maxItems": 2},
                    },
                    {
                        "type": "object",
                        "maxProperties": MOST_FIELDS,
                        "propertyNames": _FIELD,
                        "additionalProperties": _VALUE,
                    },
                ]
            },
            "keys": {"type": "object", "additionalProperties": {"type": "string"}},
            "client_ip": {"type": "string"},
        },
        "additionalProperties": False,
    },
    {"method": "POST", "path": "/erp/products", "headers": [["X-Tenant-Id", "acme"]]},
)
EXPLANATION: Schema = {"type": "object", "required": ["request", "policies"]}
ENDPOINTS = (
    Endpoint(
        "POST",
        "/-/explain",
        explain_call,
        "What would happen to a call, and why: route, limits, keys, counters, breaker, retries. Charges nothing.",
        body=ORDER,
        answers={200: EXPLANATION},
        errors=(400,),
        reads=True,
    ),
)
