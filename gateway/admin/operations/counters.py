"""Counters of single callers: what is left of a limit, read without spending; starting over; an override for a while.

A caller is named as in `/-/limits/connection-1m/acme/conn_42`: the limit, then its key parts in their order.
"""

from typing import Any, NamedTuple
from urllib.parse import unquote

from aiohttp import web

from gateway.admin.audit import audit
from gateway.admin.endpoint import Body, Endpoint, Schema, check_members, read_order, segments
from gateway.admin.operations.keys import Parts, read_parts, shown
from gateway.admin.operations.reason import REASON, WHY, asked_why, read_reason
from gateway.admin.operations.ttl import TTL, read_ttl
from gateway.admin.problems import AdminProblem, answer
from gateway.admin.view import AdminView
from gateway.core.ask import Ask
from gateway.core.grant import Grant, under, why_not
from gateway.core.headers import whole_seconds
from gateway.core.keys import partition_key
from gateway.core.limits import VARIANT, Charge, Mode, Verdict
from gateway.core.policy import PolicySet
from gateway.store import Store

BEHIND = "/-/limits/"
WANTED = '{"limit": 1000, "ttl": "2h", "reason": "migration"}'

Document = dict[str, Any]


class Target(NamedTuple):
    """One caller's counter of one limit, and of its shadow variant if it has one."""

    parts: Parts
    charges: tuple[Charge, ...]


def find(policies: PolicySet, words: list[str]) -> Target:
    """The counter that raw path segments name. Raises AdminProblem."""
    name = unquote(words[0])
    limit = policies.limits.get(name)
    if limit is None:
        whose = policies.limits.get(name.removesuffix(VARIANT))
        beside = f" It is the shadow of {whose.name}, and shown with it." if whose is not None and whose.shadow else ""
        raise AdminProblem(404, "NO_SUCH_LIMIT", f"There is no limit {name!r}.{beside}")
    parts = read_parts("limit", limit.name, limit.key, words[1:])
    mine = limit.for_caller(parts)
    charges = [Charge(mine, partition_key(limit, parts), 1)]
    if mine.shadow is not None:
        charges.append(Charge(mine.shadow, partition_key(mine.shadow, parts), 1))
    return Target(parts, tuple(charges))


async def peek(store: Store, target: Target) -> Document:
    """What the target's callers have left. Raises StoreDown."""
    ask, override = Ask(target.charges), {}
    decision = await store.peek(ask)
    if decision.quotas and decision.quotas[0]:
        override = await _override(store, target.charges[0])
    charges = under(ask, decision.quotas).charges if decision.quotas else ask.charges
    states = [_state(charge, verdict) for charge, verdict in zip(charges, decision.verdicts, strict=True)]
    document = {"name": states[0].pop("name"), "key": shown(target.parts), **states[0], **override, "store": store.kind}
    return document | ({"shadow": states[1]} if len(states) > 1 else {})


async def _override(store: Store, charge: Charge) -> Document:
    now_us, grant = await store.granted(charge)
    if grant is None:  # it has ended meanwhile
        return {}
    ends_in_s = whole_seconds(grant.until_us - now_us)
    return {
        "override": {"limit": grant.quota, "instead_of": charge.limit.quota, "ends_in_s": ends_in_s}
        | {"reason": grant.reason}
    }


def _state(charge: Charge, verdict: Verdict) -> Document:
    limit = charge.limit
    return {
        "name": limit.name,
        "limit": limit.quota,
        "remaining": verdict.remaining,
        "used": limit.quota - verdict.remaining,
        "reset_s": whole_seconds(verdict.reset_us),
        "retry_after_s": whole_seconds(verdict.retry_us),
        "algorithm": limit.algorithm.value,
        "mode": limit.mode.value,
        "partition": charge.key,
    }


async def look(view: AdminView, request: web.Request) -> web.StreamResponse:
    """`GET /-/limits/{limit}/{key}`: what one caller has left."""
    return answer(await peek(view.store, find(view.policies, segments(request, BEHIND))))


async def start_over(view: AdminView, request: web.Request) -> web.StreamResponse:
    """`DELETE /-/limits/{limit}/{key}`: forget what was counted for one caller."""
    target, reason = find(view.policies, segments(request, BEHIND)), asked_why(request)
    before = await peek(view.store, target)
    existed = any([await view.store.reset(charge) for charge in target.charges])
    return await _changed(view, request, target, ("Counter reset", "limit.reset", reason), before, {"reset": existed})


async def give(view: AdminView, request: web.Request) -> web.StreamResponse:
    """`PUT /-/limits/{limit}/{key}/override`: give one caller another number for a while."""
    target = find(view.policies, _without_override(request))
    limit = target.charges[0].limit
    if limit.mode is Mode.OFF:
        raise AdminProblem(409, "LIMIT_OFF", f"{limit.name} is off for this caller ({limit.source}): no number counts.")
    grant, for_us = _read_grant(read_order(request, WANTED), target.charges[0])
    return await _override_with(view, request, target, grant, for_us, grant.reason)


async def look_at_override(view: AdminView, request: web.Request) -> web.StreamResponse:
    """`GET /-/limits/{limit}/{key}/override`: the number that one caller has instead of the limit's own."""
    if _names_a_caller(view, request):
        return await look(view, request)
    document = await peek(view.store, find(view.policies, _without_override(request)))
    if "override" not in document:
        raise AdminProblem(404, "NO_OVERRIDE", "This caller has the limit's own number.")
    return answer(document["override"])


async def take_back(view: AdminView, request: web.Request) -> web.StreamResponse:
    """`DELETE /-/limits/{limit}/{key}/override`: the limit's own number again."""
    if _names_a_caller(view, request):
        return await start_over(view, request)
    target, reason = find(view.policies, _without_override(request)), asked_why(request)
    return await _override_with(view, request, target, None, 0, reason)


def _names_a_caller(view: AdminView, request: web.Request) -> bool:
    """Somebody may be called `override`: then the path has as many parts as the limit's key."""
    words = segments(request, BEHIND)
    limit = view.policies.limits.get(unquote(words[0]))
    return limit is not None and len(words) - 1 == len(limit.key)


def _without_override(request: web.Request) -> list[str]:
    return segments(request, BEHIND)[:-1]


def _read_grant(order: Document, charge: Charge) -> tuple[Grant, int]:
    check_members(order, {"limit", "ttl", "reason"}, set(), WANTED)
    quota, reason, for_us = order["limit"], read_reason(order), read_ttl(order["ttl"])
    if type(quota) is not int or quota < 1:
        raise AdminProblem(400, "BAD_ORDER", "`limit` must be a number of units, at least 1.")
    problem = why_not(charge.limit, quota)
    if problem:
        raise AdminProblem(400, "BAD_ORDER", f"`limit`: {problem}.")
    return Grant(quota, 0, reason), for_us


async def _override_with(
    view: AdminView, request: web.Request, target: Target, grant: Grant | None, for_us: int, reason: str
) -> web.StreamResponse:
    before = await peek(view.store, target)
    await view.store.grant(target.charges[0], grant, for_us)
    what = ("Limit overridden", "limit.override") if grant else ("Limit no longer overridden", "limit.override_end")
    return await _changed(view, request, target, (*what, reason), before, {})


async def _changed(
    view: AdminView, request: web.Request, target: Target, what: tuple[str, str, str], before: Document, more: Document
) -> web.StreamResponse:
    """Told (message, action, reason), and true at the next call: no worker repeats a refusal from before."""
    await view.forget_refusals()
    after = await peek(view.store, target)
    message, action, reason = what
    audit(request, message, action, before, after, reason)
    return answer({**more, "before": before, "after": after})


GIVEN: Schema = {"type": "object", "required": ["limit", "instead_of", "ends_in_s", "reason"]}
STATE: Schema = {
    "type": "object",
    "required": ["name", "limit", "remaining", "used", "reset_s", "retry_after_s", "algorithm", "mode", "partition"],
    "properties": {
        "name": {"type": "string"},
        "key": {"type": "object"},
        **{name: {"type": "integer", "minimum": 0} for name in ("limit", "remaining", "reset_s", "retry_after_s")},
        "used": {"type": "integer"},
        "override": GIVEN,
    },
}
BOTH: Schema = {"type": "object", "required": ["before", "after"], "properties": {"before": STATE, "after": STATE}}
ORDER = Body(
    {
        "type": "object",
        "required": ["limit", "ttl", "reason"],
        "properties": {
            "limit": {"type": "integer", "minimum": 1},
            "ttl": TTL,
            "reason": REASON,
        },
        "additionalProperties": False,
    },
    {"limit": 1000, "ttl": "2h", "reason": "migration"},
)
ENDPOINTS = (
    Endpoint(
        "GET",
        "/-/limits/{limit}/{key}",
        look,
        "What one caller has left. Costs nothing.",
        answers={200: STATE},
        errors=(400, 404, 503),
    ),
    Endpoint(
        "DELETE",
        "/-/limits/{limit}/{key}",
        start_over,
        "Forget what one caller has used.",
        query=(WHY,),
        answers={200: {**BOTH, "required": ["reset", "before", "after"]}},
        errors=(400, 404, 503),
    ),
    Endpoint(
        "PUT",
        "/-/limits/{limit}/{key}/override",
        give,
        "Another number for one caller for a while, on every gateway from the next call on.",
        body=ORDER,
        answers={200: BOTH},
        errors=(400, 404, 409, 503),
    ),
    Endpoint(
        "GET",
        "/-/limits/{limit}/{key}/override",
        look_at_override,
        "The number that one caller has for the time being, and why.",
        answers={200: GIVEN},
        errors=(400, 404, 503),
    ),
    Endpoint(
        "DELETE",
        "/-/limits/{limit}/{key}/override",
        take_back,
        "The limit's own number again.",
        query=(WHY,),
        answers={200: BOTH},
        errors=(400, 404, 503),
    ),
)
