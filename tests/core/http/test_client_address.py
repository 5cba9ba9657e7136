"""Who called: only what trusted proxies say is believed, right to left."""

import pytest

from gateway.core.http.client_address import client, from_forwarded, from_x_forwarded_for, networks, parse, trusted

PROXIES = networks(["10.0.0.0/8", "192.168.1.1", "2001:db8::/32"])


@pytest.mark.parametrize(
    ("peer", "chain", "expected"),
    [
        ("203.0.113.9", [], "203.0.113.9"),
        ("203.0.113.9", ["1.2.3.4"], "203.0.113.9"),  # an untrusted peer may say what it likes
        ("10.1.1.1", ["1.2.3.4"], "1.2.3.4"),
        ("10.1.1.1", [], "10.1.1.1"),
        ("10.1.1.1", ["6.6.6.6", "1.2.3.4"], "1.2.3.4"),  # the left part is hearsay
        ("10.1.1.1", ["1.2.3.4", "10.2.2.2", "192.168.1.1"], "1.2.3.4"),
        ("10.1.1.1", ["10.9.9.9"], "10.9.9.9"),
        ("10.1.1.1", ["1.2.3.4", "nonsense"], "10.1.1.1"),
        ("10.1.1.1", ["1.2.3.4", ""], "10.1.1.1"),
        ("::ffff:10.1.1.1", ["::ffff:1.2.3.4"], "1.2.3.4"),
        ("2001:db8::1", ['"[2001:4860::1]:443"'], "2001:4860::1"),
        ("10.1.1.1", ["1.2.3.4:5678"], "1.2.3.4"),
        ("unix", ["1.2.3.4"], "unix"),
        ("", [], ""),
    ],
)
def test_client(peer: str, chain: list[str], expected: str) -> None:
    assert client(peer, [], chain, PROXIES) == expected
    assert client(peer, chain, [], PROXIES) == expected
    assert client(peer, chain, chain, PROXIES) == expected


def test_two_fields_that_disagree_are_both_doubted() -> None:
    assert client("10.1.1.1", ["9.9.9.9"], ["1.2.3.4"], PROXIES) == "10.1.1.1"


def test_chains() -> None:
    fields = ['for=1.1.1.1;proto=http, FOR="[::1]"', "proto=https"]
    assert from_forwarded(fields) == ["1.1.1.1", "[::1]", ""]
    assert from_x_forwarded_for(["1.1.1.1, 2.2.2.2", "3.3.3.3"]) == ["1.1.1.1", "2.2.2.2", "3.3.3.3"]
    assert from_forwarded([]) == from_forwarded([""]) == from_x_forwarded_for([]) == from_x_forwarded_for([""]) == []


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        # what a caller puts into its Host stays inside the quotes that a proxy put around it
        ('for=1.1.1.1;host="a,for=6.6.6.6"', ["1.1.1.1"]),
        ('host="a;for=6.6.6.6";for=1.1.1.1', ["1.1.1.1"]),
        (r'for=1.1.1.1;host="\",for=6.6.6.6,\""', ["1.1.1.1"]),
        (r'for=1.1.1.1;host="a\\"', ["1.1.1.1"]),
        # what a caller left open swallows nothing behind it
        ('for=6.6.6.6;host=", for=1.1.1.1', ["", "1.1.1.1"]),
        (r'for="\, for=1.1.1.1;host="a"', ["", "1.1.1.1"]),
        (r'for=6.6.6.6;host="\", for="1.1.1.1"', ["6.6.6.6", "1.1.1.1"]),
        # said twice, not at all, or in no form that RFC 7239 knows
        ("for=6.6.6.6;for=1.1.1.1", [""]),
        ("for", [""]),
        ("for=", [""]),
        ('for="1.1.1.1', [""]),
        ('for="1.1.1.1"x', [""]),
        ("for = 1.1.1.1 ;proto=http", ["1.1.1.1"]),
        (r'for="1.1\.1.1"', ["1.1.1.1"]),
        ("for=1.1.1.1:80, for=_hidden, for=unknown", ["1.1.1.1:80", "_hidden", "unknown"]),
    ],
)
def test_forwarded_is_read_from_the_right(field: str, expected: list[str]) -> None:
    assert from_forwarded([field])[-len(expected) :] == expected


def test_networks_and_addresses() -> None:
    with pytest.raises(ValueError, match="nope"):
        networks(["nope"])
    for nonsense in (
        "unknown",
        "",
        '"',
        "_x",
        "1.2.3",
        "1.2.3.4:x",
        "[::1",
        "[::1]x",
        "[1.2.3.4",
        "::1]",
        "1.2.3.4%1",
        "01.2.3.4",
    ):
        assert parse(nonsense) is None, nonsense
    assert str(parse('"[2001:DB8::1]:_port"')) == "2001:db8::1"
    assert str(parse("fe80::1%eth0")) == "fe80::1"
    assert str(parse("::ffff:10.0.0.1")) == str(parse("[::FFFF:a00:1]")) == "10.0.0.1"
    address = parse("10.0.0.1")
    assert address is not None
    assert trusted(address, PROXIES)
    assert not trusted(address, networks(["::/0"]))
    assert networks(["::ffff:10.0.0.0/104", "::ffff:10.0.0.1"]) == networks(["10.0.0.0/8", "10.0.0.1"])
    assert networks(["::ffff:0:0/95"])[0].version == 6
