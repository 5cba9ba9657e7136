"""The store behind Sentinels: found through them, and found again after a failover."""

import pytest

from gateway.core.ask import Ask
from gateway.store import pipeline


@pytest.fixture(autouse=True)
def quick_dialling(monkeypatch):
    monkeypatch.setattr(pipeline, "MIN_DIAL_GAP_S", 0.05)
    monkeypatch.setattr(pipeline, "MAX_DIAL_GAP_S", 0.1)


async def test_found_through_sentinels_and_again_after_a_failover(
    start_sentinel, open_store, make_charge, events, free_port
):
    group = start_sentinel(sentinels=1, down_after_ms=200)
    first, second = group.servers
    store = await open_store(group.url.replace("//", f"//127.0.0.1:{free_port()},"))
    assert (await store.admit(Ask([make_charge(5)]), "")).admitted

    first.kill()
    await events.wait_for("store.recovered")
    assert second.role == "master"
    assert (await store.admit(Ask([make_charge(5)]), "")).admitted
    assert second.command("EXISTS", "gw:w:{=acme}") == 1
    assert events.names == ["store.degraded", "store.recovered"]


async def test_a_service_nobody_knows(start_sentinel, open_store, kind_of_failure):
    group = start_sentinel(replicas=0, sentinels=1)
    store = await open_store(group.url.replace("/main", "/other"), start=False)
    assert await kind_of_failure(store.start()) == "connect"
