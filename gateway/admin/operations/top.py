"""Who calls most, or is refused most, over all workers of this gateway."""

from typing import Any

from aiohttp import web

from gateway.admin.endpoint import Endpoint, Query, Schema
from gateway.admin.problems import AdminProblem, answer
from gateway.admin.view import ANSWER_S, AdminView
from gateway.admin.watching.heavy_callers import BY, MOST, limit_of
from gateway.core.keys import readable
from gateway.core.watching.heavy_hitters import HeavyHitters

USUAL, MOST_SHOWN = 20, 200

Document = dict[str, Any]


async def top(view: AdminView, request: web.Request) -> web.StreamResponse:
    """`GET /-/top`: the callers that were refused, or called, most often."""
    by = request.query.get("by", "rejected")
    if by not in BY:
        raise AdminProblem(400, "BAD_QUESTION", f"`by` must be one of {', '.join(BY)}.")
    return answer(await heaviest(view, by, shown(request)))


def shown(request: web.Request) -> int:
    """How many are asked for. Raises AdminProblem."""
    count = request.query.get("limit", str(USUAL))
    if not (count.isascii() and count.isdigit() and len(count) < 9 and 1 <= int(count) <= MOST_SHOWN):
        raise AdminProblem(400, "BAD_PAGE", f"`limit` must be a number from 1 to {MOST_SHOWN}.")
    return int(count)


async def heaviest(view: AdminView, by: str, count: int) -> Document:
    """The document; counts may be `at_most` so large: who came seldom was forgotten now and then."""
    answers = [one for one in await view.siblings.ask_all("top", {"by": by}, timeout_s=ANSWER_S) if not one.missing]
    all_ = HeavyHitters[str](MOST)
    for one in answers:
        all_.merge(one.payload["counts"], one.payload["missed"])
    over_s = max([one.payload["over_s"] for one in answers], default=0.0)
    return {
        "by": by,
        "over_s": round(over_s, 3),
        "workers": len(answers),
        "callers": [_caller(key, times, all_.missed, over_s) for key, times in all_.top(count)],
    }


def _caller(partition: str, times: int, missed: int, over_s: float) -> Document:
    return {
        "limit": limit_of(partition),
        "key": readable(partition),
        "partition": partition,
        "count": times,
        "at_most": times + missed,
        "per_s": round(times / over_s, 3) if over_s else 0.0,
    }


CALLERS: Schema = {
    "type": "object",
    "required": ["by", "over_s", "workers", "callers"],
    "properties": {
        "by": {"enum": list(BY)},
        "callers": {
            "type": "array",
            "items": {"type": "object", "required": ["limit", "key", "partition", "count", "at_most", "per_s"]},
        },
    },
}
ENDPOINTS = (
    Endpoint(
        "GET",
        "/-/top",
        top,
        "Who is refused most (`?by=rejected`), calls most (`requests`), or would be refused (`shadow_rejected`).",
        query=(
            Query("by", {"enum": list(BY)}, "Default: rejected."),
            Query("limit", {"type": "integer", "minimum": 1, "maximum": MOST_SHOWN}, f"Default: {USUAL}."),
        ),
        answers={200: CALLERS},
        errors=(400,),
    ),
)
