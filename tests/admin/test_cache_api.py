"""Purging what caches keep, as operators ask for it."""

from dataclasses import replace
from typing import Any

from tests.admin.conftest import POLICIES, ROUTE, Admin
from tests.core.cache_cases import a_cache


async def ask(admin: Admin, query: str = "") -> tuple[int, Any]:
    async with admin.client.delete(f"http://127.0.0.1:{admin.port}/-/cache{query}") as answer:
        return answer.status, await answer.json(content_type=None)


async def test_every_worker_is_asked_for_what_is_wanted(admin: Admin) -> None:
    asked: list[dict[str, Any]] = []

    def purged(wanted: dict[str, Any]) -> dict[str, int]:
        asked.append(wanted)
        return {"workers": 3, "store": 2}

    admin.worker.policies = replace(POLICIES, routes=(replace(ROUTE, cache=a_cache()),))
    admin.worker.siblings.on("purge_cache", purged)
    assert await ask(admin) == (200, {"purged": {"workers": 3, "store": 2}, "missing": []})
    assert (await ask(admin, "?route=erp&tenant=&prefix=/a%3Fx"))[0] == 200
    assert asked == [
        {"route": None, "tenant": None, "prefix": None},
        {"route": "erp", "tenant": "", "prefix": "/a?x"},
    ]


async def test_a_route_that_keeps_nothing(admin: Admin) -> None:
    status, problem = await ask(admin, "?route=erp")
    assert (status, problem["code"]) == (404, "NO_SUCH_CACHE")


async def test_a_worker_that_could_not_is_named(admin: Admin) -> None:
    status, found = await ask(admin)
    assert (status, found["purged"]) == (200, {"workers": 0, "store": 0})
    assert found["missing"] == [{"worker": 1, "reason": "nobody answers purge_cache"}]
