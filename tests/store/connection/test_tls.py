"""Sentinels and clusters over TLS: every connection is checked, also those to servers that others name."""

import pytest
import trustme

from gateway.core.ask import Ask
from gateway.store import StoreDown
from gateway.store.cluster.topology import slot_of
from tests.fakes.ports import free_port
from tests.fakes.tls_front import TlsFronts
from tests.fakes.waiting import eventually


@pytest.fixture(scope="module")
def ca():
    return trustme.CA()


@pytest.fixture
def ca_file(ca, tmp_path):
    path = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(path)
    return path


@pytest.fixture
async def fronts(ca):
    async with TlsFronts(ca) as fronts:
        yield fronts


@pytest.fixture
async def sentinels_url(sentinel_group, fronts):
    """The shared Sentinel, which names its primary by the port that speaks TLS."""
    primary = sentinel_group.primary.port
    tells = {primary: await fronts.open(primary, at=free_port())}
    ports = [await fronts.open(sentinel.port, tells=tells) for sentinel in sentinel_group.sentinels]
    return f"rediss+sentinel://{','.join(f'127.0.0.1:{port}' for port in ports)}/main"


@pytest.fixture
async def cluster_url(redis_cluster, fronts):
    """One server of the shared cluster, which names all by the ports that speak TLS."""
    tells = {node.port: free_port() for node in redis_cluster.nodes}
    for node in redis_cluster.nodes:
        await fronts.open(node.port, tells=tells, at=tells[node.port])
    return f"rediss+cluster://127.0.0.1:{tells[redis_cluster.nodes[0].port]}"


@pytest.fixture(params=["sentinels", "cluster"])
async def url(request, sentinels_url, cluster_url):
    return {"sentinels": sentinels_url, "cluster": cluster_url}[request.param]


async def admitted(store, *asks):
    """Once the store answers."""

    async def answers():
        return [(await store.admit(ask, "")).admitted for ask in asks]

    return await eventually(answers, not_yet=(StoreDown,))


def asks_of_all_servers(make_charge):
    return [Ask([make_charge(500, f"t{number}")]) for number in range(20)]


async def test_decisions_over_tls(open_store, url, ca_file, make_charge):
    store = await open_store(f"{url}?ssl_ca_certs={ca_file}")
    assert await admitted(store, *asks_of_all_servers(make_charge)) == [True] * 20


async def test_every_server_of_a_cluster_is_reached_over_tls(open_store, cluster_url, ca_file, make_charge, fronts):
    store = await open_store(f"{cluster_url}?ssl_ca_certs={ca_file}")
    asks = asks_of_all_servers(make_charge)
    owners = {store._nodes._owners[slot_of(ask.charges[0].key)].address for ask in asks}
    assert len(owners) == 3
    assert fronts.opened >= 3


async def test_connections_that_are_lost_are_replaced(open_store, url, ca_file, make_charge, fronts, events):
    store = await open_store(f"{url}?ssl_ca_certs={ca_file}")
    fronts.cut()
    await events.wait_for("store.recovered")
    assert await admitted(store, *asks_of_all_servers(make_charge)) == [True] * 20


async def test_a_certificate_that_cannot_be_trusted(open_store, url):
    store = await open_store(url, start=False)
    with pytest.raises(StoreDown) as caught:
        await store.start()
    assert caught.value.kind == "connect"
    assert not store.up


async def test_a_certificate_for_another_name(open_store, url, ca_file):
    store = await open_store(f"{url.replace('127.0.0.1', 'localhost')}?ssl_ca_certs={ca_file}", start=False)
    with pytest.raises(StoreDown):
        await store.start()


async def test_the_name_may_be_left_unchecked(open_store, url, ca_file, make_charge):
    options = f"ssl_ca_certs={ca_file}&ssl_check_hostname=false"
    store = await open_store(f"{url.replace('127.0.0.1', 'localhost')}?{options}")
    assert await admitted(store, *asks_of_all_servers(make_charge)) == [True] * 20
