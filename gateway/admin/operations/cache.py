"""Answers that are kept: how many, and gone at a word; in every worker of this gateway, and in the store for those of
all."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web

from gateway.admin.audit import audit
from gateway.admin.endpoint import Endpoint, Query, Schema
from gateway.admin.problems import AdminProblem, answer
from gateway.admin.view import AdminView
from gateway.core.policy import Route
from gateway.siblings import Answer

ANSWER_S = 10.0
HITS, MISSES = ("hit", "collapsed", "stale", "error"), ("miss", "validated")
"""What is answered from what is kept, and what for the upstream was asked."""


async def sizes(view: AdminView, _request: web.Request) -> web.StreamResponse:
    """What is kept of each route, and how much use it was since the workers began."""
    answers = await view.siblings.ask_all("cache_sizes", {}, timeout_s=ANSWER_S)
    routes = [route for route in view.policies.routes if route.cache is not None]
    found = [standing(route, [one.payload for one in answers]) for route in routes]
    return answer({"routes": found, "missing": _missing(answers)})


def standing(route: Route, told_of: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What workers have told of a route that keeps answers, added up. `told_of`: by route, as of `Caches.sizes`."""
    assert route.cache is not None, "such are asked about"
    told = [one[route.name] for one in told_of if route.name in one]
    how: Counter[str] = sum((Counter(one["answers"]) for one in told), Counter())
    shared = next((one["shared"] for one in told if one.get("shared") is not None), None)
    hits, misses = (sum(how[word] for word in words) for words in (HITS, MISSES))
    return {
        "route": route.name,
        "max_size_bytes": route.cache.size_bytes,
        "workers": _size([sum(one["kept"][at] for one in told) for at in (0, 1)]),
        "store": _size(shared) if shared is not None else None,
        "hits": hits,
        "misses": misses,
        "hit_ratio": round(hits / (hits + misses), 4) if hits + misses else None,
        "answers": dict(sorted(how.items())),
    }


def _size(entries_and_bytes: Sequence[int]) -> dict[str, int]:
    entries, size_bytes = entries_and_bytes
    return {"entries": entries, "bytes": size_bytes}


def _missing(answers: Sequence[Answer]) -> list[dict[str, Any]]:
    return [{"worker": one.worker, "reason": one.missing} for one in answers if one.missing]


async def purge(view: AdminView, request: web.Request) -> web.StreamResponse:
    """Forget answers: of one route, of one tenant, to what begins like this; all if nothing is said."""
    wanted = {name: request.query.get(name) for name in ("route", "tenant", "prefix")}
    kept = [route.name for route in view.policies.routes if route.cache is not None]
    if wanted["route"] is not None and wanted["route"] not in kept:
        raise AdminProblem(404, "NO_SUCH_CACHE", f"No route {wanted['route']!r} keeps answers.")
    answers = await view.siblings.ask_all("purge_cache", wanted, timeout_s=ANSWER_S)
    counts = {name: sum(one.payload.get(name, 0) for one in answers) for name in ("workers", "store")}
    found = {"purged": counts, "missing": _missing(answers)}
    audit(request, "Cache purged", "cache.purge", {name: one for name, one in wanted.items() if one is not None}, found)
    return answer(found)


_TEXT: Schema = {"type": "string"}
_SIZE: Schema = {"type": ["object", "null"], "required": ["entries", "bytes"]}
ENDPOINTS = (
    Endpoint(
        "GET",
        "/-/cache",
        sizes,
        "What [caches](cache.md) keep of each route, in the workers and in the store; hits and misses.",
        answers={
            200: {
                "type": "object",
                "required": ["routes", "missing"],
                "properties": {
                    "routes": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["route", "workers", "store", "hits", "misses", "hit_ratio", "answers"],
                            "properties": {"workers": _SIZE, "store": _SIZE},
                        },
                    }
                },
            }
        },
    ),
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
