"""What caches keep, and purging it, as operators ask for it."""

from dataclasses import replace
from typing import Any

from tests.admin.conftest import POLICIES, ROUTE, Admin
from tests.core.cache.cache_cases import a_cache


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


async def test_a_misspelt_parameter_does_not_purge_everything(admin: Admin) -> None:
    asked: list[dict[str, Any]] = []
    admin.worker.siblings.on("purge_cache", asked.append)
    status, problem = await ask(admin, "?tenat=acme")
    assert (status, problem["code"]) == (400, "BAD_QUESTION")
    assert "'tenat'" in problem["detail"]
    assert "there are: route, tenant, prefix" in problem["detail"]
    assert asked == []


async def test_a_worker_that_could_not_is_named(admin: Admin) -> None:
    status, found = await ask(admin)
    assert (status, found["purged"]) == (200, {"workers": 0, "store": 0})
    assert found["missing"] == [{"worker": 1, "reason": "nobody answers purge_cache"}]


async def test_what_workers_and_the_store_keep(admin: Admin) -> None:
    said = {
        "erp": {"kept": (2, 1400), "answers": {"hit": 5, "stale": 1, "miss": 2, "bypass": 7}, "shared": (1, 700)},
        "gone": {"kept": (1, 1), "answers": {}, "shared": None},
    }
    admin.worker.policies = replace(POLICIES, routes=(replace(ROUTE, cache=a_cache()), replace(ROUTE, name="other")))
    admin.worker.siblings.on("cache_sizes", lambda _: said)
    status, found, _ = await admin.ask("/-/cache")
    assert (status, found) == (
        200,
        {
            "routes": [
                {
                    "route": "erp",
                    "max_size_bytes": 16 * 1024**2,
                    "workers": {"entries": 2, "bytes": 1400},
                    "store": {"entries": 1, "bytes": 700},
                    "hits": 6,
                    "misses": 2,
                    "hit_ratio": 0.75,
                    "answers": {"bypass": 7, "hit": 5, "miss": 2, "stale": 1},
                }
            ],
            "missing": [],
        },
    )


async def test_of_workers_that_do_not_answer_nothing_is_known(admin: Admin) -> None:
    admin.worker.policies = replace(POLICIES, routes=(replace(ROUTE, cache=a_cache()),))
    status, found, _ = await admin.ask("/-/cache")
    (route,) = found["routes"]
    assert (status, route["workers"], route["store"], route["hit_ratio"]) == (
        200,
        {"entries": 0, "bytes": 0},
        None,
        None,
    )
    assert found["missing"] == [{"worker": 1, "reason": "nobody answers cache_sizes"}]
