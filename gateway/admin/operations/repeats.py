"""Reads that are repeated, over all workers: polling that a webhook or the cache would replace, and what it takes."""

from typing import Any

from aiohttp import web

from gateway.admin.audit import audit
from gateway.admin.endpoint import Body, Endpoint, Query, Schema, check_members, read_order
from gateway.admin.operations.top import MOST_SHOWN, USUAL, shown
from gateway.admin.operations.ttl import TTL, read_ttl
from gateway.admin.problems import AdminProblem, answer
from gateway.admin.view import ANSWER_S, AdminView
from gateway.admin.watching.repeats import MOST
from gateway.core.units import DAY_US
from gateway.core.watching.heavy_hitters import HeavyHitters
from gateway.siblings import Answer

WANTED = '{"ttl": "10m"}'

Document = dict[str, Any]


async def watch(view: AdminView, request: web.Request) -> web.StreamResponse:
    """Every worker forgets what it has counted and counts anew."""
    order = read_order(request, WANTED)
    check_members(order, {"ttl"}, set(), WANTED)
    for_s = read_ttl(order["ttl"], DAY_US) / 1e6
    answers = await view.siblings.ask_all("repeats.watch", {"for_s": for_s}, timeout_s=ANSWER_S)
    audit(request, "Repeated reads are counted", "repeats.watch", None, {"for_s": for_s})
    return answer({"for_s": for_s, "workers": len(answers), "missing": _missing(answers)})


async def repeats(view: AdminView, request: web.Request) -> web.StreamResponse:
    """`GET /-/repeats`: the reads that are repeated most."""
    count = shown(request)
    answers = await view.siblings.ask_all("repeats.counts", {}, timeout_s=ANSWER_S)
    told = [one.payload for one in answers if one.payload]
    if not told:
        raise AdminProblem(409, "NOT_WATCHING", f"Nobody has asked to count them: POST {WANTED} first.")
    all_ = HeavyHitters[str](MOST)
    for one in told:
        all_.merge(one["counts"], one["missed"])
    over_s = max(one["over_s"] for one in told)
    most = [(digest, times) for digest, times in all_.top(count) if times > 1]
    about = await _about(view, most, over_s)
    return answer(
        {
            "over_s": round(over_s, 3),
            "watching": any(one["watching"] for one in told),
            "workers": len(told),
            "missing": _missing(answers),
            "reads": sum(one["seen"] for one in told),
            "repeated": sum(times - 1 for times in all_.counts.values()),
            "repeats": [
                {**about[digest], **_counted(times, all_.missed, over_s)} for digest, times in most if digest in about
            ],
        }
    )


async def _about(view: AdminView, most: list[tuple[str, int]], over_s: float) -> dict[str, Document]:
    asked = {
        "digests": [digest for digest, _ in most],
        "repeats": [times - 1 for _, times in most],
        "over_s": over_s,
    }
    found: dict[str, Document] = {}
    for one in await view.siblings.ask_all("repeats.of", asked, timeout_s=ANSWER_S):
        found |= one.payload
    return found


def _counted(times: int, missed: int, over_s: float) -> Document:
    return {
        "count": times,
        "at_most": times + missed,
        "every_s": round(over_s / times, 3),
        "saves": times - 1,
    }


def _missing(answers: list[Answer]) -> list[Document]:
    """Who does not answer, or was started since."""
    reasons = {one.worker: one.missing or ("" if one.payload else "not watching") for one in answers}
    return [{"worker": worker, "reason": reason} for worker, reason in reasons.items() if reason]


MISSING: Schema = {"type": "array", "items": {"type": "object", "required": ["worker", "reason"]}}
BEGUN: Schema = {
    "type": "object",
    "required": ["for_s", "workers", "missing"],
    "properties": {"for_s": {"type": "number"}, "workers": {"type": "integer"}, "missing": MISSING},
}
REPORT: Schema = {
    "type": "object",
    "required": ["over_s", "watching", "workers", "missing", "reads", "repeated", "repeats"],
    "properties": {
        "watching": {"type": "boolean"},
        "missing": MISSING,
        "repeats": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["route", "path", "query", "count", "at_most", "every_s", "saves", "limits"],
            },
        },
    },
}
ENDPOINTS = (
    Endpoint(
        "POST",
        "/-/repeats",
        watch,
        "Count reads that are repeated, from now on and for a while.",
        body=Body(
            {
                "type": "object",
                "required": ["ttl"],
                "properties": {"ttl": TTL},
                "additionalProperties": False,
            },
            {"ttl": "10m"},
        ),
        answers={200: BEGUN},
        errors=(400,),
    ),
    Endpoint(
        "GET",
        "/-/repeats",
        repeats,
        "Which reads are repeated most, and what that takes of which limits.",
        query=(Query("limit", {"type": "integer", "minimum": 1, "maximum": MOST_SHOWN}, f"Default: {USUAL}."),),
        answers={200: REPORT},
        errors=(400, 409),
    ),
)
