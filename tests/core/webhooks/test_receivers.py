"""Who wants which events, and where receivers may be."""

from ipaddress import ip_network

import pytest

from gateway.core.public_address import may_be_reached
from gateway.core.webhooks.receivers import TOLD, Receiver, Subscription
from gateway.observe.log.events import EVENTS

ANYBODY = Receiver("ops", "https://x", keys=(b"secret" * 4,))


def test_what_is_told_are_events() -> None:
    assert set(TOLD) <= EVENTS.keys()


@pytest.mark.parametrize(
    ("event", "connection", "wanted"),
    [
        ("connection.offline", "c-1", True),
        ("connection.offline", "d-1", False),
        ("connection.offline", None, True),
        ("breaker.opened", None, True),
        ("breaker.closed", None, False),
    ],
)
def test_a_subscription(event: str, connection: str | None, wanted: bool) -> None:
    subscription = Subscription(ANYBODY, ("connection.*", "breaker.opened"), ("c-*",))
    assert subscription.wants(event, connection) is wanted
    assert subscription.name == "ops"


def test_a_receiver_never_shows_its_keys() -> None:
    assert "secret" not in repr(Subscription(ANYBODY))


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0", "100.64.0.1"),
        *("224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1%eth0", "fc00::1", "ff02::1"),
        *("::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::"),
        *("::7f00:1", "::ffff:0:7f00:1", "64:ff9b:1::7f00:1", "fec0::1", "5f00::1", "168.63.129.16"),
    ],
)
def test_addresses_that_are_not_public(address: str) -> None:
    assert not may_be_reached(address, ())


@pytest.mark.parametrize("address", ["8.8.8.8", "2001:4860:4860::8888", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_addresses_that_are(address: str) -> None:
    assert may_be_reached(address, ())


def test_networks_may_be_allowed() -> None:
    allowed = [ip_network("fc00::/7"), ip_network("10.0.0.0/8")]
    assert may_be_reached("10.1.2.3", allowed)
    assert may_be_reached("::ffff:10.1.2.3", allowed)
    assert may_be_reached("fc00::1", allowed)
    assert not may_be_reached("127.0.0.1", allowed)
