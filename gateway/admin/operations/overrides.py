"""Overrides in force, of all limits: who has another number than the limit's own for the time being."""

from aiohttp import web

from gateway.admin.endpoint import Endpoint, Schema
from gateway.admin.operations.counters import GIVEN
from gateway.admin.problems import answer
from gateway.admin.view import AdminView
from gateway.core.headers import whole_seconds
from gateway.core.keys import readable

SHOWN = 1_000


async def overrides(view: AdminView, _request: web.Request) -> web.StreamResponse:
    """Those in force, by limit and key. One of a limit that the loaded set does not have has no `instead_of`."""
    now_us, grants = await view.store.grants()
    limits = view.policies.limits
    found = []
    for partition, grant in grants[:SHOWN]:
        name = partition.partition(":")[0]
        one = {"name": name, "key": readable(partition), "partition": partition, "limit": grant.quota}
        one |= {"instead_of": limits[name].quota} if name in limits else {}
        one |= {"ends_in_s": whole_seconds(grant.until_us - now_us), "reason": grant.reason}
        found.append(one)
    return answer({"overrides": found, "more": max(0, len(grants) - SHOWN)})


LISTED: Schema = {
    "type": "object",
    "required": ["overrides", "more"],
    "properties": {
        "overrides": {
            "type": "array",
            "items": {**GIVEN, "required": ["name", "key", "partition", "limit", "ends_in_s", "reason"]},
        },
        "more": {"type": "integer", "minimum": 0},
    },
}
ENDPOINTS = (
    Endpoint(
        "GET",
        "/-/overrides",
        overrides,
        "Every caller that has another number for the time being, and why.",
        answers={200: LISTED},
        errors=(503,),
    ),
)
