"""Whose address a call counts by: the socket's, or what trusted proxies say, whatever a caller writes (RFC 7239)."""

from itertools import cycle
from random import Random

import pytest

from gateway.core.keys import client_network, encode_part
from gateway.settings import HeaderSettings
from tests.app.conftest import Running, Start
from tests.fakes.upstream import Upstream
from tests.proxy.test_identity import get, statuses

BY_ADDRESS = """
version: 1
keys: {ip: {from: client_ip, on_missing: reject}}
limits: {ip-10m: {algorithm: rolling_window, limit: %d, window: 10m, key: [ip]}}
upstreams: {up: {url: "%s"}}
routes: [{name: all, match: {path_prefix: /}, upstream: up, limits: [ip-10m]}]
"""
PROXIES = ("127.0.0.0/8", "10.0.0.0/8", "2001:db8:ffff::/48")
SAYING_WHO = (
    "X-Forwarded-For", "Forwarded", "X-Real-IP", "X-Client-IP", "Client-IP", "True-Client-IP", "CF-Connecting-IP",
    "Fastly-Client-IP", "X-Cluster-Client-IP", "X-Originating-IP", "X-Remote-IP", "X-Remote-Addr", "X-ProxyUser-Ip",
    "X-Azure-ClientIP", "X-Forwarded", "Forwarded-For", "X_Forwarded_For", "REMOTE_ADDR", "x-forwarded-FOR", "FORWARDED",
)  # fmt: skip


def lies(seed: int, count: int) -> list[list[str]]:
    """Field lines that claim another address each time, in every place and form that some server believes."""
    random = Random(seed)
    forms = (
        "{ip}",
        "{ip}, {ip}",
        "127.0.0.1, {ip}",
        "{ip}, 127.0.0.1",
        "[2001:db8::{n:x}]:443",
        "::ffff:{ip}",
        '"{ip}"',
    )
    found = []
    for n in range(count):
        ip = f"{random.randrange(1, 224)}.{random.randrange(256)}.{n % 256}.{random.randrange(1, 255)}"
        lines = []
        for name in random.sample(SAYING_WHO, random.randrange(1, 6)):
            value = random.choice(forms).format(ip=ip, n=n)
            if name.lower() == "forwarded":
                value = f'for="{ip}";proto=https;by=127.0.0.1, for={ip}'
            lines.append(f"{name}: {value}")
        found.append(lines)
    return found


async def test_an_untrusted_peer_is_its_socket_whatever_it_says(start: Start, upstream: Upstream) -> None:
    """Neither the address nor the counter changes in 1,000 calls, and the upstream hears none of it."""
    gateway = await start(BY_ADDRESS % (5, upstream.url), trusted_proxies=("10.0.0.0/8", "192.0.2.1"))
    found = await statuses(gateway, [get(*lines) for lines in lies(1, 1000)])
    assert found.count(200) == 5
    assert found.count(429) == 995
    records = gateway.records.all
    assert {(record.client_ip, record.peer_ip) for record in records} == {("127.0.0.1", "127.0.0.1")}
    assert {charge.key for record in records for charge in record.charges} == {"ip-10m:{=127.0.0.1}"}
    for request in upstream.received:
        assert request.fields("Forwarded") == ["for=127.0.0.1;proto=http;host=a;by=_gw-test"]
        assert not request.fields("X-Forwarded-For")
        assert not request.fields("X-Real-IP")


PEER = "127.0.0.1"
CLIENT = "203.0.113.9"
TABLE = [
    # (field lines, the address the call counts by)
    (["X-Forwarded-For: 203.0.113.9"], CLIENT),
    (["x-forwarded-for:203.0.113.9"], CLIENT),
    (["X-Forwarded-For:  \t203.0.113.9\t "], CLIENT),
    (["X-Forwarded-For: 6.6.6.6, 203.0.113.9"], CLIENT),
    (["X-Forwarded-For: 6.6.6.6,203.0.113.9"], CLIENT),
    (["X-Forwarded-For: 127.0.0.1, 10.0.0.1, 203.0.113.9"], CLIENT),  # trusted addresses on the left are hearsay too
    (["X-Forwarded-For: nonsense, 203.0.113.9"], CLIENT),
    (["X-Forwarded-For: , , 203.0.113.9"], CLIENT),
    (["X-Forwarded-For: 6.6.6.6", "X-Forwarded-For: 203.0.113.9"], CLIENT),
    (["X-Forwarded-For: 6.6.6.6", "Accept: */*", "X-FORWARDED-FOR: 203.0.113.9"], CLIENT),
    (["X-Forwarded-For: 203.0.113.9, 10.1.1.1"], CLIENT),
    (["X-Forwarded-For: 203.0.113.9, 10.1.1.1, 10.2.2.2, 127.0.0.9"], CLIENT),
    (["X-Forwarded-For: 203.0.113.9", "X-Forwarded-For: 10.1.1.1"], CLIENT),
    (["X-Forwarded-For: 6.6.6.6, 203.0.113.9, 10.1.1.1"], CLIENT),
    (["X-Forwarded-For: 10.1.1.1, 10.2.2.2"], "10.1.1.1"),  # all of them trusted: the farthest
    (["X-Forwarded-For: 203.0.113.9, ::ffff:10.1.1.1"], CLIENT),
    (["X-Forwarded-For: 203.0.113.9, 2001:db8:ffff::1"], CLIENT),
    (["X-Forwarded-For: 203.0.113.9:1234"], CLIENT),
    (["X-Forwarded-For: ::ffff:203.0.113.9"], CLIENT),
    (["X-Forwarded-For: ::FFFF:CB00:7109"], CLIENT),
    (["X-Forwarded-For: [::ffff:203.0.113.9]:443"], CLIENT),
    (["X-Forwarded-For: 2001:DB8:0:0::7"], "2001:db8::7"),
    (["X-Forwarded-For: [2001:db8::7]"], "2001:db8::7"),
    (["X-Forwarded-For: [2001:db8::7]:4711"], "2001:db8::7"),
    (["X-Forwarded-For: fe80::7%eth0"], "fe80::7"),
    (["X-Forwarded-For: "], PEER),
    (["X-Forwarded-For: unknown"], PEER),
    (["X-Forwarded-For: 203.0.113.9, nonsense"], PEER),
    (["X-Forwarded-For: 203.0.113.9,"], PEER),
    (["X-Forwarded-For: 203.0.113.999"], PEER),
    (["X-Forwarded-For: 0203.0.113.9"], PEER),
    (["X-Forwarded-For: 203.0.113.9/32"], PEER),
    (["X-Forwarded-For: 203.0.113.9 10.1.1.1"], PEER),
    (["X-Forwarded-For: 203.0.113.9:http"], PEER),
    (["X-Forwarded-For: [2001:db8::7"], PEER),
    (["X-Forwarded-For: 203.0.113.9\xe9"], PEER),
    (["X-Forwarded-For: " + "9" * 8000], PEER),
    (["X-Real-IP: 6.6.6.6"], PEER),
    (["X_Forwarded_For: 6.6.6.6"], PEER),
    (["Forwarded: for=203.0.113.9"], CLIENT),
    (["forwarded: FOR=203.0.113.9;Proto=https"], CLIENT),
    (['Forwarded: proto=https;for="203.0.113.9:80";by=_p'], CLIENT),
    (['Forwarded: for="203.0.113.9:_port"'], CLIENT),
    (["Forwarded: for=6.6.6.6, for=203.0.113.9, for=10.1.1.1"], CLIENT),
    (["Forwarded: for=6.6.6.6", "Forwarded: for=203.0.113.9;host=a, for=10.1.1.1"], CLIENT),
    (['Forwarded: for=203.0.113.9, for="[2001:db8:ffff::1]:443"'], CLIENT),
    (['Forwarded: for="[2001:db8::7]:4711"'], "2001:db8::7"),
    (['Forwarded: for=203.0.113.9;host="a,for=6.6.6.6"'], CLIENT),  # the caller's Host, as a proxy quotes it
    (['Forwarded: host="a;for=6.6.6.6";for=203.0.113.9'], CLIENT),
    (['Forwarded: for=6.6.6.6;host=", for=203.0.113.9'], CLIENT),  # the caller opened a quote before the proxy wrote
    (["Forwarded: for=_hidden"], PEER),
    (["Forwarded: for=unknown"], PEER),
    (["Forwarded: for=203.0.113.9, for=_SEVKISEK, for=10.1.1.1"], "10.1.1.1"),
    (["Forwarded: proto=https"], PEER),
    (["Forwarded: for=6.6.6.6;for=203.0.113.9"], PEER),
    (['Forwarded: for="203.0.113.9'], PEER),
    (["Forwarded: for=203.0.113.9", "X-Forwarded-For: 203.0.113.9"], CLIENT),
    (["Forwarded: for=203.0.113.9", "X-Forwarded-For: 6.6.6.6"], PEER),  # one of them is a lie: neither is believed
    (["Forwarded: for=6.6.6.6", "X-Forwarded-For: 203.0.113.9"], PEER),
]


async def addresses(gateway: Running, cases: list[list[str]]) -> list[str]:
    """Which address each call was counted by, and that its counter is that address's."""
    await statuses(gateway, [get(*lines) for lines in cases])
    records = await gateway.records.wait(len(cases))
    for record in records:
        network = client_network(record.client_ip, 64)
        assert [charge.key for charge in record.charges] == [f"ip-10m:{{{encode_part(network)}}}"]
    return [record.client_ip for record in records]


async def test_what_a_trusted_peer_says(start: Start, upstream: Upstream) -> None:
    gateway = await start(BY_ADDRESS % (1000, upstream.url), trusted_proxies=PROXIES)
    found = await addresses(gateway, [lines for lines, _ in TABLE])
    assert [(lines, ip) for (lines, _), ip in zip(TABLE, found, strict=True)] == TABLE


@pytest.mark.parametrize(
    ("proxies", "expected"),
    [
        ((), PEER),
        (("10.0.0.0/8",), PEER),
        (("::/0",), PEER),
        (("127.0.0.1",), "10.1.1.1"),
        (("127.0.0.0/8", "10.1.1.0/24"), CLIENT),
        (("0.0.0.0/0",), "6.6.6.6"),
        (("::ffff:127.0.0.0/104", "10.0.0.0/8"), CLIENT),
    ],
)
async def test_only_networks_that_are_named_are_trusted(
    start: Start, upstream: Upstream, proxies: tuple[str, ...], expected: str
) -> None:
    gateway = await start(BY_ADDRESS % (1000, upstream.url), trusted_proxies=proxies)
    lines = ["X-Forwarded-For: 6.6.6.6, 203.0.113.9, 10.1.1.1"]
    assert await addresses(gateway, [lines]) == [expected]


async def test_each_client_behind_a_trusted_proxy_has_one_budget(start: Start, upstream: Upstream) -> None:
    """However its address is spelled, and whatever it puts to the left of it."""
    gateway = await start(BY_ADDRESS % (5, upstream.url), trusted_proxies=PROXIES)
    spelled = cycle(("203.0.113.9", "::ffff:203.0.113.9", "203.0.113.9:%d", "[::ffff:cb00:7109]:%d"))
    requests = []
    for n, lines in enumerate(lies(2, 100)):
        mine = next(spelled)
        lines = [line for line in lines if not line.lower().startswith(("forwarded:", "x-forwarded-for:"))]
        requests.append(get(*lines, f"X-Forwarded-For: 6.6.6.{n}, {mine % n if '%' in mine else mine}, 10.0.0.{n}"))
    found = await statuses(gateway, requests)
    assert found.count(200) == 5
    assert {record.client_ip for record in gateway.records.all} == {CLIENT}


SAID = [
    "X-Forwarded-For: 6.6.6.6",
    "X-Forwarded-For: 203.0.113.9",
    "X-Forwarded-Proto: ftp, https",
    "X-Forwarded-Host: forged.example",
    "x-forwarded-host: shop.example",
    "X-Forwarded-Port: 8443",
    "X-Forwarded-Prefix: /shop",
    "X-Real-IP: 203.0.113.9",
    'Forwarded: for=6.6.6.6;host="',
    "Forwarded: for=203.0.113.9;proto=https",
]
ELEMENT = "for=127.0.0.1;proto=http;host=a;by=_gw-test"
OUR_FORWARDED = {"Forwarded": [ELEMENT]}
OUR_X_FORWARDED = {"X-Forwarded-For": ["127.0.0.1"], "X-Forwarded-Proto": ["http"], "X-Forwarded-Host": ["a"]}
JOINED_FORWARDED = {"Forwarded": [f"for=203.0.113.9;proto=https, {ELEMENT}"]}
JOINED_X_FORWARDED = {
    "X-Forwarded-For": ["6.6.6.6, 203.0.113.9, 127.0.0.1"],
    "X-Forwarded-Proto": ["https"],
    "X-Forwarded-Host": ["shop.example"],
}
UNTOUCHED = {
    name: [line.partition(": ")[2] for line in SAID if line.lower().startswith(name.lower() + ":")]
    for name in (*OUR_FORWARDED, *OUR_X_FORWARDED, "X-Forwarded-Port", "X-Forwarded-Prefix", "X-Real-IP")
}
HEARD = {
    # headers.forwarded: (what the upstream hears of an untrusted peer, of a trusted one, of one that says nothing)
    "forwarded": (OUR_FORWARDED, UNTOUCHED | JOINED_FORWARDED, OUR_FORWARDED),
    "x-forwarded": (OUR_X_FORWARDED, UNTOUCHED | JOINED_X_FORWARDED, OUR_X_FORWARDED),
    "both": (
        OUR_FORWARDED | OUR_X_FORWARDED,
        UNTOUCHED | JOINED_FORWARDED | JOINED_X_FORWARDED,
        OUR_FORWARDED | OUR_X_FORWARDED,
    ),
    "off": ({}, UNTOUCHED, {}),
}


@pytest.mark.parametrize("mode", HEARD)
async def test_the_upstream_hears_one_reading_of_who_called(start: Start, upstream: Upstream, mode: str) -> None:
    """One line for each field, joined with what a trusted proxy said, never two that contradict each other."""
    headers = HeaderSettings(forwarded=mode)
    stranger = await start(BY_ADDRESS % (1000, upstream.url), headers=headers)
    proxied = await start(BY_ADDRESS % (1000, upstream.url), headers=headers, trusted_proxies=PROXIES)
    await statuses(stranger, [get(*SAID)])
    await statuses(proxied, [get(*SAID), get()])
    heard = [{name: values for name in UNTOUCHED if (values := request.fields(name))} for request in upstream.received]
    assert heard == list(HEARD[mode])


async def test_without_a_host_none_is_told(start: Start, upstream: Upstream) -> None:
    gateway = await start(BY_ADDRESS % (1000, upstream.url), headers=HeaderSettings(forwarded="both"))
    await gateway.raw(b"GET / HTTP/1.0\r\nX-Forwarded-Host: forged.example\r\n\r\n")
    [request] = upstream.received
    assert request.fields("Forwarded") == ["for=127.0.0.1;proto=http;by=_gw-test"]
    assert request.fields("X-Forwarded-Proto") == ["http"]
    assert not request.fields("X-Forwarded-Host")
