"""The store behind Sentinels: found through them, and found again after a failover."""

import asyncio

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


async def test_a_primary_that_was_replaced_while_it_lives_is_left(start_sentinel, open_store, make_charge, events):
    """Sentinels take ten seconds to make it a replica; until then it takes every write."""
    group = start_sentinel(sentinels=1)
    store = await open_store(group.url)
    before = group.primary
    promoted = await asyncio.to_thread(group.fail_over)
    assert (before.role, promoted.role) == ("master", "master")
    assert await events.wait_for("store.degraded") == {
        "kind": "connect",
        "detail": "the Sentinels name another primary",
    }
    await events.wait_for("store.recovered")
    assert (await store.admit(Ask([make_charge(5)]), "")).admitted
    assert promoted.command("EXISTS", "gw:w:{=acme}") == 1
    assert before.role == "master"
    assert events.names == ["store.degraded", "store.recovered"]


async def test_a_sentinel_that_is_gone_changes_nothing(start_sentinel, open_store, make_charge, events, monkeypatch):
    monkeypatch.setattr(pipeline, "WATCH_S", 0.01)
    group = start_sentinel(replicas=0, sentinels=1)
    store = await open_store(group.url)
    asked, changed = 0, store._pipeline._dialer.changed

    async def counted():
        nonlocal asked
        asked += 1
        return await changed()

    monkeypatch.setattr(store._pipeline._dialer, "changed", counted)
    group.sentinels[0].kill()
    while asked < 5:
        assert (await store.admit(Ask([make_charge(1_000_000)]), "")).admitted
    assert events.names == []
