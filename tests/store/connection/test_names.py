"""A store that is named: where the name led last is asked while DNS is away, and only then."""

import asyncio
import socket
from pathlib import Path

import pytest

from gateway.core.ask import Ask
from gateway.core.store_url import parse_url
from gateway.names import KnownNames
from gateway.store import StoreDown
from gateway.store.connection import names as store_names
from gateway.store.connection.dial import Dialer
from tests.fakes.waiting import for_ever

TLS = Path(__file__).parent / "tls"


def led(host: str, port: int, address: str = "127.0.0.1") -> KnownNames:
    """What somebody has told of this name."""
    known = KnownNames()
    found = [[socket.AF_INET, socket.SOCK_STREAM, 6, "", [address, port]]]
    known.hear({"host": host, "port": port, "found": found, "at_s": 0.0, "lasting": True})
    return known


@pytest.fixture
def dns(monkeypatch):
    """Function that says what DNS does: `dns(coroutine_function)`; it gets the name."""

    def does(what):
        async def getaddrinfo(host, *_more, **_kind):
            return await what(host)

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)

    return does


async def fails(_name):
    raise socket.gaierror(socket.EAI_AGAIN, "away")


async def says_nothing(_name):
    await for_ever()


class Taken(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport


@pytest.fixture
async def dial():
    """Function that dials a URL and returns the transport; all is closed with the test."""
    dialers = []

    async def once(url, known=None, dialer=None):
        if dialer is None:
            dialer = Dialer(parse_url(url), known)
            dialers.append(dialer)
        taken = Taken()
        await dialer.connect(taken)
        return taken.transport

    yield once
    for dialer in dialers:
        await dialer.close()


@pytest.fixture
async def port(start_redis_server, free_port):
    port = free_port()
    start_redis_server("--port", str(port))
    return port


@pytest.mark.parametrize("away", [fails, says_nothing])
async def test_while_dns_is_away_it_is_where_the_name_led_last(dial, dns, port, away, monkeypatch):
    monkeypatch.setattr(store_names, "DNS_PART", 0.01)
    dns(away)
    transport = await dial(f"redis://store.invalid:{port}", led("store.invalid", port))
    assert transport.get_extra_info("peername") == ("127.0.0.1", port)


async def test_where_a_name_has_led_is_known_to_others_then(dial, dns, port):
    known = KnownNames()
    await dial(f"redis://localhost:{port}", known)
    assert known.of("localhost", port).found[0][4][0] in {"127.0.0.1", "::1"}
    dns(fails)
    await dial(f"redis://localhost:{port}", known)


async def test_dns_is_asked_first(dial, port):
    """The server may have been replaced by another one."""
    known = led("localhost", port, "192.0.2.1")
    await dial(f"redis://localhost:{port}", known)
    assert known.of("localhost", port).found[0][4][0] in {"127.0.0.1", "::1"}


async def test_where_dns_says_that_another_one_is_the_last_one_is_not_asked(dial, serve_tcp, free_port):
    asked = []

    async def old(_reader, writer):
        asked.append(writer)

    port = free_port()
    server = await asyncio.start_server(old, "127.0.0.2", port)
    async with server:
        with pytest.raises(StoreDown, match="connecting to localhost"):
            await dial(f"redis://localhost:{port}", led("localhost", port, "127.0.0.2"))
    assert asked == []


async def test_a_silent_dns_is_asked_one_question_at_a_time(dial, dns, port, monkeypatch):
    """And what it says late counts for who asks next."""
    monkeypatch.setattr(store_names, "DNS_PART", 0.01)
    asked, answer = [], asyncio.Event()

    async def answers_late(name):
        asked.append(name)
        await answer.wait()
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    dns(answers_late)
    url = f"redis://localhost:{port}"
    dialer = Dialer(parse_url(url), led("localhost", port, "127.0.0.2"))
    for _ in range(3):
        transport = await dial(url, dialer=dialer)
        assert transport.get_extra_info("peername")[0] == "127.0.0.2"
    assert asked == ["localhost"]
    answer.set()
    transport = await dial(url, dialer=dialer)
    assert transport.get_extra_info("peername")[0] in {"127.0.0.1", "::1"}
    await dialer.close()


async def test_who_is_not_there_either_is_told_with_the_address(dial, dns, free_port):
    port = free_port()
    dns(fails)
    with pytest.raises(StoreDown, match=r"DNS does not say where store\.invalid is; where it was, at 127\.0\.0\.1: "):
        await dial(f"redis://store.invalid:{port}", led("store.invalid", port))


async def test_a_certificate_has_to_say_the_name_wherever_it_led(dial, dns, tls_port):
    dns(fails)
    options = f"?ssl_ca_certs={TLS / 'ca.pem'}"
    transport = await dial(f"rediss://localhost:{tls_port}{options}", led("localhost", tls_port))
    assert transport.get_extra_info("cipher")
    with pytest.raises(StoreDown, match="CERTIFICATE_VERIFY_FAILED"):
        await dial(f"rediss://store.invalid:{tls_port}{options}", led("store.invalid", tls_port))


async def test_sentinels_are_asked_where_their_names_led(open_store, dns, sentinel_group, make_charge):
    port = sentinel_group.sentinels[0].port
    dns(fails)
    store = await open_store(f"redis+sentinel://store.invalid:{port}/main", known=led("store.invalid", port))
    assert (await store.admit(Ask([make_charge()]), "")).admitted


async def test_a_cluster_is_found_where_the_names_of_its_servers_led(open_store, dns, emptied_cluster, make_charge):
    port = emptied_cluster.primaries[0].port
    dns(fails)
    store = await open_store(f"redis+cluster://store.invalid:{port}", known=led("store.invalid", port))
    assert (await store.admit(Ask([make_charge()]), "")).admitted
