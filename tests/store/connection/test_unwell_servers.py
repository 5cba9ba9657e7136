"""What each thing that can be wrong with a server means for calls: down at once and with its name, and back by itself."""

import asyncio
from contextlib import suppress
from weakref import ref

import pytest
import redis.asyncio

from gateway.core.ask import Ask
from gateway.core.store_faults import is_lasting
from gateway.store import StoreDown
from gateway.store.connection import pipeline
from tests.fakes.collector import no_collector
from tests.fakes.waiting import eventually, until


@pytest.fixture(autouse=True)
def quick_dialling(monkeypatch):
    monkeypatch.setattr(pipeline, "MIN_DIAL_GAP_S", 0.02)
    monkeypatch.setattr(pipeline, "MAX_DIAL_GAP_S", 0.05)


def endless_script(server):
    server.command("CONFIG", "SET", "lua-time-limit", 5)
    client = server.client()
    client.connection_pool.get_connection().send_command("EVAL", "while true do end", 0)


def failed_snapshot(server):
    (server.directory / "dump.rdb").mkdir()
    server.command("CONFIG", "SET", "save", "3600 1")
    server.command("BGSAVE")
    with server.client() as client:
        until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err", "it has failed")


UNWELL = {
    "a script that does not end": (endless_script, ("SCRIPT", "KILL"), "BUSY", "busy"),
    "snapshots fail": (failed_snapshot, ("CONFIG", "SET", "stop-writes-on-bgsave-error", "no"), "MISCONF", "other"),
    "too few replicas": (
        ("CONFIG", "SET", "min-replicas-to-write", 1),
        ("CONFIG", "SET", "min-replicas-to-write", 0),
        "NOREPLICAS",
        "other",
    ),
    "a replica": (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE"), "READONLY", "other"),
    "full": (("CONFIG", "SET", "maxmemory", 1), ("CONFIG", "SET", "maxmemory", 0), "OOM", "other"),
    "no rights": (
        ("ACL", "SETUSER", "default", "-evalsha"),
        ("ACL", "SETUSER", "default", "+evalsha"),
        "NOPERM",
        "other",
    ),
}


@pytest.mark.parametrize("unwell", UNWELL)
async def test_down_by_its_name_and_up_again(open_store, own_redis_server, make_charge, events, unwell):
    harm, mend, word, kind = UNWELL[unwell]
    store = await open_store(own_redis_server.url)
    assert (await store.admit(Ask([make_charge(9)]), "")).admitted
    own_redis_server.command(*harm) if isinstance(harm, tuple) else harm(own_redis_server)
    with pytest.raises(StoreDown, match=word) as caught:
        await store.admit(Ask([make_charge(9)]), "")
    assert caught.value.kind == kind
    with pytest.raises(StoreDown, match=word):
        await store.admit(Ask([make_charge(9)]), "")
    own_redis_server.command(*mend)
    await events.wait_for("store.recovered")
    decision = await store.admit(Ask([make_charge(9)]), "")
    assert decision.verdicts[0].remaining == 7, "what was refused cost nothing"
    assert events.names == ["store.degraded", "store.recovered"], "one event for a change, not one for a call"


async def test_a_failed_probe_is_freed_without_the_collector(open_store, own_redis_server, make_charge, events):
    store = await open_store(own_redis_server.url)
    harm, mend, *_ = UNWELL["full"]
    with no_collector():
        own_redis_server.command(*harm)
        with suppress(StoreDown):
            await store.admit(Ask([make_charge(9)]), "")
        first = ref(store._pipeline.fault)
        await eventually(lambda: store._pipeline.fault is not first())
        failed = ref(store._pipeline.fault)
        own_redis_server.command(*mend)
        await events.wait_for("store.recovered")
        assert failed() is None


@pytest.mark.parametrize("over", ["unix", "redis"])
async def test_a_server_that_reads_its_data(open_store, start_redis_server, free_port, make_charge, events, over):
    port = free_port()
    own_redis_server = start_redis_server("--port", str(port))
    with own_redis_server.client() as client:
        client.config_set("rdbcompression", "no")
        client.mset({f"k{number}": "x" * 1000 for number in range(200)})
        client.save()
    own_redis_server.kill()
    slowly = (
        *own_redis_server.arguments,
        "--key-load-delay",
        "100000",
        "--loading-process-events-interval-bytes",
        "1024",
    )  # until it is seen
    own_redis_server.arguments = slowly
    own_redis_server.start()
    url = own_redis_server.url if over == "unix" else f"redis://127.0.0.1:{port}"
    store = await open_store(url, start=False)
    with pytest.raises(StoreDown, match="LOADING") as caught:
        await store.start()
    assert caught.value.kind == "busy"
    own_redis_server.command("CONFIG", "SET", "key-load-delay", 0)
    await events.wait_for("store.recovered")
    assert (await store.admit(Ask([make_charge()]), "")).admitted
    assert events.names == ["store.degraded", "store.recovered"]


async def test_a_server_that_takes_no_more_clients(open_store, own_redis_server, make_charge, events):
    async with redis.asyncio.Redis.from_url(own_redis_server.url, decode_responses=True) as admin:
        store = await open_store(own_redis_server.url)
        mine = await admin.client_id()
        (link,) = [client["id"] for client in await admin.client_list() if int(client["id"]) != mine]
        await admin.config_set("maxclients", 1)
        await admin.client_kill_filter(_id=link)
        await eventually(lambda: "max number of clients" in str(store._pipeline.fault))
        with pytest.raises(StoreDown):
            await store.admit(Ask([make_charge()]), "")
        await admin.config_set("maxclients", 100)
        await events.wait_for("store.recovered")
    assert (await store.admit(Ask([make_charge()]), "")).admitted


async def test_a_key_of_another_type_counts_as_nothing(open_store, own_redis_server, make_charge, make_slot, events):
    store = await open_store(own_redis_server.url)
    for name in ("gw:w:{=acme}", "gw:c:{=acme}"):
        own_redis_server.command("RPUSH", name, "x")
    decision = await store.admit(Ask([make_charge(5), make_slot(5)]), "one")
    assert [verdict.remaining for verdict in decision.verdicts] == [4, 4]
    assert events.names == []


@pytest.mark.parametrize("url", ["{}", "{}?password=wrong", "{}?username=bob&password=wrong"])
async def test_who_does_not_know_the_password_is_told_so(open_store, start_redis_server, url):
    """Also by a server that hangs up on large messages before the login, before it was asked anything."""
    server = start_redis_server("--requirepass", "right")
    store = await open_store(url.format(server.url), start=False)
    with pytest.raises(
        StoreDown, match=r"NOAUTH|WRONGPASS|invalid username-password|Authentication required"
    ) as caught:
        await store.start()
    assert "wrong" not in str(caught.value)
    assert is_lasting(caught.value.detail)


async def test_a_lost_store_that_does_not_know_the_password_any_more_is_told_as_such(
    open_store, start_redis_server, events
):
    server = start_redis_server("--requirepass", "old")
    await open_store(f"{server.url}?password=old")
    async with redis.asyncio.Redis.from_url(server.url, password="old") as admin:
        await admin.config_set("requirepass", "new")
        await admin.client_kill_filter(_type="normal", skipme=True)
        lost = await events.wait_for("store.degraded")
        refused = await events.wait_for("store.refused")
        assert (lost["detail"], refused["kind"]) == ("the connection was lost", "connect")
        assert is_lasting(refused["detail"])
        await admin.config_set("requirepass", "old")
        await events.wait_for("store.recovered")
    assert events.names == ["store.degraded", "store.refused", "store.recovered"]


async def test_a_server_of_a_cluster_is_no_single_server(open_store, emptied_cluster, make_charge):
    one, other, _ = emptied_cluster.primaries
    store = await open_store(f"redis://{one.address}", start=False)
    with suppress(StoreDown):
        await store.start()
    elsewhere = make_charge(5, emptied_cluster.text_at(other, "gw:w:{{={}}}"))
    with pytest.raises(StoreDown, match=r"redis\+cluster://"):
        await store.admit(Ask([elsewhere]), "")


async def test_a_server_of_a_cluster_is_up_when_it_decides_where_it_has_sent_us_away(
    open_store, broken_cluster, make_charge, events
):
    """A probe elsewhere would succeed now and then, and the next call send it down again."""
    one, other, _ = broken_cluster.primaries
    elsewhere = Ask([make_charge(5, broken_cluster.text_at(other, "gw:w:{{={}}}"))])
    store = await open_store(f"redis://{one.address}", start=False)
    with suppress(StoreDown):
        await store.start()
    with pytest.raises(StoreDown, match="MOVED"):
        await eventually(lambda: store.admit(elsewhere, ""), not_yet=())
    said = await events.wait_for("store.degraded")
    told, faults = len(events.seen), set()
    await eventually(lambda: faults.add(store._pipeline.fault) or len(faults) >= 20 or None in faults)
    assert len(events.seen) == told
    await asyncio.to_thread(broken_cluster.move_slot, int(str(said["detail"]).split()[1]), one)
    await events.wait_for("store.recovered")


async def test_a_single_server_is_no_cluster(open_store, start_redis_server, free_port):
    port = free_port()
    start_redis_server("--port", str(port))
    store = await open_store(f"redis+cluster://127.0.0.1:{port}", start=False)
    with pytest.raises(StoreDown, match=f"127.0.0.1:{port}: .*cluster support disabled") as told:
        await store.start()
    assert is_lasting(told.value.detail)


@pytest.mark.parametrize("url", ["redis://{}", "redis://{}/1", "redis+cluster://{}"])
async def test_a_sentinel_is_no_server(open_store, sentinel_group, url):
    store = await open_store(url.format(sentinel_group.sentinels[0].address), start=False)
    with pytest.raises(StoreDown, match=r"unknown command .*: a Sentinel\? .*redis\+sentinel://") as told:
        await store.start()
    assert is_lasting(told.value.detail)


async def test_a_server_is_no_sentinel(open_store, sentinel_group):
    store = await open_store(f"redis+sentinel://{sentinel_group.servers[0].address}/main", start=False)
    with pytest.raises(StoreDown, match=r"no Sentinel names .*unknown command .*: no Sentinel, .*redis://") as told:
        await store.start()
    assert "with args" not in told.value.detail
    assert is_lasting(told.value.detail)
