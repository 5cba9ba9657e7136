"""How many keys of each breaker are not closed, as metrics tell it."""

from dataclasses import replace
from typing import Any

import pytest

from gateway.core.guards import Breaker, Guard, Report, State
from gateway.guards.census import Census
from gateway.store import Store, StoreDown
from gateway.store.local.store import LocalStore
from gateway.store.redis import RedisStore
from tests.fakes.stores import patient, started
from tests.fakes.waiting import eventually

BREAKER = Breaker("b", ("c",), consecutive_failures=1)
BREAKERS = {"b": BREAKER, "well": replace(BREAKER, name="well"), "own": replace(BREAKER, name="own", shared=False)}


def guard(name: str) -> Guard:
    return Guard(BREAKER, f"breaker:b:{{={name}}}")


@pytest.fixture(params=["local", "redis"])
async def store(request: pytest.FixtureRequest, redis_url: str, redis_client: Any) -> Any:
    async with started(LocalStore() if request.param == "local" else patient(redis_url)) as one:
        yield one


async def test_it_counts_by_breaker_and_state(store: Store) -> None:
    census = Census(store, BREAKERS)
    well = {("b", "open"): 0, ("b", "half_open"): 0, ("well", "open"): 0, ("well", "half_open"): 0}
    assert census.counts == well
    for number in range(700):
        await store.report([Report(guard(str(number)), 0, failed=1)])
    await store.force(guard("held"), State.CLOSED, 60_000_000)
    await store.report([Report(Guard(BREAKER, "breaker:gone:{=c}"), 0, failed=1)])
    await census.look()
    assert census.counts == well | {("b", "open"): 700}


async def test_it_looks_by_itself_and_keeps_what_it_knows_while_the_store_is_down(store: Store) -> None:
    census = Census(store, BREAKERS)
    await store.report([Report(guard("c"), 0, failed=1)])
    census.start()
    await eventually(lambda: census.counts["b", "open"] != 0)
    await census.close()
    await census.close()
    if isinstance(store, RedisStore):
        await store.close()
        with pytest.raises(StoreDown):
            await census.look()
    assert census.counts["b", "open"] == 1


async def test_without_breakers_it_does_not_ask(store: Store) -> None:
    census = Census(store, {"own": BREAKERS["own"]})
    census.start()
    assert census.counts == {}
    await census.close()
