"""The store behind Sentinels: found through them, and found again after a failover."""

import asyncio

import hiredis
import pytest

from gateway.core.ask import Ask
from gateway.store.connection import pipeline, sentinels
from gateway.store.connection.link import pack
from tests.fakes.waiting import eventually, until


@pytest.fixture(autouse=True)
def quick_dialling(monkeypatch):
    monkeypatch.setattr(pipeline, "MIN_DIAL_GAP_S", 0.05)
    monkeypatch.setattr(pipeline, "MAX_DIAL_GAP_S", 0.1)


async def test_found_through_sentinels_and_again_after_a_failover(
    start_sentinel, open_store, make_charge, events, free_port
):
    group = start_sentinel(sentinels=1)
    first, second = group.servers
    store = await open_store(group.url.replace("//", f"//127.0.0.1:{free_port()},"))
    assert (await store.admit(Ask([make_charge(5)]), "")).admitted

    first.kill()
    assert await asyncio.to_thread(group.wait_for_promotion, first) is second
    await events.wait_for("store.recovered")
    assert (await store.admit(Ask([make_charge(5)]), "")).admitted
    assert second.command("EXISTS", "gw:w:{=acme}") == 1
    assert events.names == ["store.degraded", "store.recovered"]


async def test_a_service_nobody_knows(start_sentinel, open_store, kind_of_failure):
    group = start_sentinel(replicas=0, sentinels=1)
    store = await open_store(group.url.replace("/main", "/other"), start=False)
    assert await kind_of_failure(store.start()) == "connect"


def listeners(sentinel):
    return len(sentinel.command("CLIENT", "LIST", "TYPE", "pubsub").splitlines())


async def heard_by_all(group, workers=1):
    """The Sentinels hear each other, too: over the servers, not over their own connections."""
    await asyncio.to_thread(
        until, lambda: all(listeners(one) == workers for one in group.sentinels), "all Sentinels are listened to"
    )


async def test_a_primary_that_is_to_be_replaced_is_left_before(
    start_sentinel, open_store, make_charge, events, monkeypatch
):
    """Whichever Sentinel leads. It lives then, and Sentinels take ten seconds to make it a replica; until then it takes
    every write, and all of them are lost."""
    monkeypatch.setattr(sentinels, "WATCH_S", 600)
    group = start_sentinel(sentinels=2)
    store = await open_store(group.url)
    await heard_by_all(group)
    before = group.primary
    promoted = await asyncio.to_thread(group.fail_over, 1)
    assert (before.role, promoted.role) == ("master", "master")
    assert await events.wait_for("store.degraded") == {
        "kind": "connect",
        "detail": "the Sentinels are about to promote a replica",
    }
    await events.wait_for("store.recovered")
    assert (await store.admit(Ask([make_charge(5)]), "")).admitted
    assert promoted.command("EXISTS", "gw:w:{=acme}") == 1
    assert before.role == "master"
    assert events.names == ["store.degraded", "store.recovered"]


async def test_a_primary_that_was_replaced_unheard_is_left(
    start_sentinel, open_store, make_charge, events, monkeypatch
):
    monkeypatch.setattr(sentinels.Ear, "data_received", lambda _ear, _data: None)
    group = start_sentinel(sentinels=1)
    store = await open_store(group.url)
    promoted = await asyncio.to_thread(group.fail_over)
    assert (await events.wait_for("store.degraded"))["detail"] == "the Sentinels name another primary"
    await events.wait_for("store.recovered")
    assert (await store.admit(Ask([make_charge(5)]), "")).admitted
    assert promoted.command("EXISTS", "gw:w:{=acme}") == 1


async def test_what_a_user_of_the_sentinels_needs(start_sentinel, open_store):
    rights = "+sentinel|get-master-addr-by-name +psubscribe &*"
    group = start_sentinel(replicas=0, sentinels=1, sentinel_lines=(f"user gw on >pw {rights}",))
    await open_store(f"{group.url}?sentinel_username=gw&sentinel_password=pw")
    await heard_by_all(group)


async def test_a_sentinel_that_is_gone_changes_nothing(start_sentinel, open_store, make_charge, events, monkeypatch):
    monkeypatch.setattr(sentinels, "WATCH_S", 0.01)
    group = start_sentinel(replicas=0, sentinels=1)
    store = await open_store(group.url)
    watching = store._pipeline._dialer._sentinels
    asked, ask = 0, watching._ask

    async def counted():
        nonlocal asked
        asked += 1
        return await ask()

    monkeypatch.setattr(watching, "_ask", counted)
    group.sentinels[0].kill()
    while asked < 5:
        assert (await store.admit(Ask([make_charge(1_000_000)]), "")).admitted
    assert events.names == []


class Said:
    """A Sentinel that says what it is told to.

    named   the port of the primary that it names
    listen  its listeners
    """

    def __init__(self, named):
        self.named = named
        self.listeners = asyncio.Queue()
        self.asked = 0

    async def serve(self, reader, writer):
        commands = hiredis.Reader(encoding="utf-8")
        while data := await reader.read(65_536):
            commands.feed(data)
            while command := commands.gets():
                if command[0] == "PSUBSCRIBE":
                    self.listeners.put_nowait(writer)
                elif command[0] == "SENTINEL":
                    self.asked += 1
                    writer.write(b"*2\r\n$9\r\n127.0.0.1\r\n$%d\r\n%d\r\n" % (len(str(self.named)), self.named))
                else:
                    writer.write(b"+OK\r\n")

    @staticmethod
    def tell(listener, channel, message):
        listener.write(pack(("pmessage", "*", channel, message)))


@pytest.fixture
async def said(serve_tcp, start_redis_server, free_port):
    """A scripted Sentinel of two servers that are both primaries, and its URL."""
    ports = [free_port(), free_port()]
    servers = [start_redis_server("--port", str(port)) for port in ports]
    sentinel = Said(ports[0])
    url = f"redis+sentinel://127.0.0.1:{await serve_tcp(sentinel.serve)}/main"
    return sentinel, servers, ports, url


def replica_of(port, service="main"):
    return f"slave 127.0.0.1:2 127.0.0.1 2 @ {service} 127.0.0.1 {port}"


async def test_nobody_decides_until_another_primary_is_named(said, open_store, make_charge, events, monkeypatch):
    monkeypatch.setattr(sentinels, "REPLACED_WITHIN_S", 600)
    sentinel, servers, ports, url = said
    store = await open_store(url)
    listener = await sentinel.listeners.get()
    asked = sentinel.asked
    sentinel.tell(listener, sentinels.PROMOTING, replica_of(ports[0]))
    await events.wait_for("store.degraded")
    sentinel.tell(listener, "+promoted-slave", replica_of(ports[0]))  # but it still names the old one
    await eventually(lambda: sentinel.asked > asked)
    assert not store.up
    sentinel.named = ports[1]
    sentinel.tell(listener, "+switch-master", f"main 127.0.0.1 {ports[0]} 127.0.0.1 {ports[1]}")
    await events.wait_for("store.recovered")
    assert (await store.admit(Ask([make_charge(5)]), "")).admitted
    assert [server.command("EXISTS", "gw:w:{=acme}") for server in servers] == [0, 1]


@pytest.mark.parametrize("ends", ["given up", "nothing more is heard", "the Sentinel is lost"])
async def test_a_failover_that_comes_to_nothing(said, open_store, make_charge, events, monkeypatch, ends):
    monkeypatch.setattr(sentinels, "REPLACED_WITHIN_S", 600 if ends == "given up" else 0.05)
    sentinel, servers, ports, url = said
    store = await open_store(url)
    listener = await sentinel.listeners.get()
    sentinel.tell(listener, sentinels.PROMOTING, replica_of(ports[0]))
    await events.wait_for("store.degraded")
    if ends == "given up":
        sentinel.tell(listener, "-failover-abort-slave-timeout", "master main 127.0.0.1 1")
    elif ends == "the Sentinel is lost":
        listener.transport.abort()
    await events.wait_for("store.recovered")
    assert (await store.admit(Ask([make_charge(5)]), "")).admitted
    assert [server.command("EXISTS", "gw:w:{=acme}") for server in servers] == [1, 0]


async def test_what_a_sentinel_tells_of_others_is_no_concern(said, open_store, events):
    sentinel, _, ports, url = said
    await open_store(url)
    listener = await sentinel.listeners.get()
    asked = sentinel.asked
    sentinel.tell(listener, sentinels.PROMOTING, replica_of(ports[0], "other"))
    sentinel.tell(listener, sentinels.PROMOTING, replica_of(ports[1]))  # heard late: that one was left long ago
    sentinel.tell(listener, "+switch-master", "main 127.0.0.1 1 127.0.0.1 1")
    await eventually(lambda: sentinel.asked > asked)
    assert events.names == []


async def test_a_sentinel_is_listened_to_again(said, open_store, events, monkeypatch):
    monkeypatch.setattr(sentinels, "LISTEN_AGAIN_S", 0.01)
    sentinel, _, ports, url = said
    await open_store(url)
    for spoil in (lambda one: one.transport.abort(), lambda one: one.write(b"what?\r\n")):
        spoil(await sentinel.listeners.get())
    Said.tell(await sentinel.listeners.get(), sentinels.PROMOTING, replica_of(ports[0]))
    await events.wait_for("store.degraded")
