"""Key parts are read the same however they are spelled, and no two callers share a counter."""

import string
from urllib.parse import quote

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from gateway.core.keys import (
    KeyFrom,
    KeyPart,
    OnMissing,
    as_read,
    encode_part,
    hides,
    partition,
    partition_key,
    read_key,
    readable,
    readable_parts,
)
from gateway.core.limits import Algorithm, Limit
from tests.fakes.examples import as_many

NAMES = st.text(string.ascii_letters + string.digits + "._-", min_size=1, max_size=8)
VALUES = st.none() | st.text(min_size=1, max_size=80) | st.text("ab#=~:{}%*\x00\udce9é", min_size=1, max_size=70)


def limit(name: str, *key: str) -> Limit:
    return Limit(name, Algorithm.ROLLING_WINDOW, 500, 600_000_000, key)


def part(source: KeyFrom, name: str = "", ipv6_prefix: int = 64) -> KeyPart:
    return KeyPart("k", source, name, OnMissing.SKIP, ipv6_prefix)


def read(
    a_part: KeyPart, *, headers: dict[str, str] | None = None, query: str = "", ip: str = "", **path: str
) -> str | None:
    return read_key(a_part, CIMultiDict(headers or {}), path, query, ip)


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (None, "~"),
        ("acme", "=acme"),
        ("~", "=~"),
        ("a.b_c-d", "=a.b_c-d"),
        ("jo+crm@acme.example", "=jo+crm@acme.example"),
        ("x" * 64, "=" + "x" * 64),
        ("x" * 65, "#"),
        ("a:b", "#"),
        ("*", "#"),
        ("", "#"),
        ("acme\n", "#"),
        ("naïve", "#"),
    ],
)
def test_a_value_stands_for_itself_only_when_plain(value: str | None, encoded: str) -> None:
    got = encode_part(value)
    if encoded.startswith("#"):
        assert got[0] == "#"
        assert len(got) == 33
        assert set(got[1:]) <= set("0123456789abcdef")
    else:
        assert got == encoded


def test_the_first_part_is_the_hash_tag() -> None:
    parts = {"tenant": "acme", "connection": None}
    assert partition_key(limit("tenant-10m", "tenant"), parts) == "tenant-10m:{=acme}"
    assert partition_key(limit("both", "tenant", "connection"), parts) == "both:{=acme}:~"
    assert partition_key(limit("all"), parts) == "all:{*}"


@settings(max_examples=as_many(300))
@given(NAMES, NAMES, st.lists(VALUES, max_size=3), st.lists(VALUES, max_size=3))
def test_different_callers_have_different_keys(
    name: str, other_name: str, values: list[str | None], other_values: list[str | None]
) -> None:
    assume((name, values) != (other_name, other_values))
    keys = [
        partition_key(limit(a_name, *map(str, range(len(parts)))), {str(i): value for i, value in enumerate(parts)})
        for a_name, parts in ((name, values), (other_name, other_values))
    ]
    assert keys[0] != keys[1]


@settings(max_examples=as_many(200))
@given(NAMES, st.lists(VALUES, min_size=1, max_size=3))
def test_a_key_is_bounded_plain_text_with_one_hash_tag(name: str, values: list[str | None]) -> None:
    key = partition_key(limit(name, *map(str, range(len(values)))), {str(i): v for i, v in enumerate(values)})
    assert key.isascii()
    assert key.isprintable()
    assert len(key) <= len(name) + 3 + 66 * len(values)
    assert key.index("{") == len(name) + 1
    assert key.count("{") == key.count("}") == 1
    assert encode_part(values[0]) == key[key.index("{") + 1 : key.index("}")]


def test_a_header_is_found_whatever_its_case() -> None:
    tenant = part(KeyFrom.HEADER, "x-tenant-id")
    assert read(tenant, headers={"X-TENANT-ID": "Acme"}) == "Acme"
    assert read(tenant, headers={"X-Tenant-Id": ""}) is None
    assert read(tenant) is None
    twice = CIMultiDict([("X-Tenant-Id", "first"), ("x-tenant-id", "second")])
    assert read_key(tenant, twice, {}, "", "") == "first"


def test_a_path_value_is_decoded() -> None:
    assert read(part(KeyFrom.PATH, "id"), id="acme") == "acme"
    assert read(part(KeyFrom.PATH, "id"), id="%61cm%65") == "acme"
    assert read(part(KeyFrom.PATH, "id"), id="a+b") == "a+b"
    assert read(part(KeyFrom.PATH, "id"), id="%E9") == "\udce9"
    assert read(part(KeyFrom.PATH, "id")) is None


@pytest.mark.parametrize(
    ("query", "value"),
    [
        ("tenant=acme", "acme"),
        ("a=1&tenant=acme&tenant=other", "acme"),
        ("tenan%74=a%63me", "acme"),
        ("tenant=a+b", "a b"),
        ("tenant=%ff", "\udcff"),
        ("tenant=a=b", "a=b"),
        ("tenant=", None),
        ("tenant", None),
        ("Tenant=acme", None),
        ("", None),
    ],
)
def test_the_first_query_value_counts_decoded(query: str, value: str | None) -> None:
    assert read(part(KeyFrom.QUERY, "tenant"), query=query) == value


@pytest.mark.parametrize(
    ("ip", "prefix", "value"),
    [
        ("192.0.2.7", 64, "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", 64, "2001:db8:1:2::/64"),
        ("2001:DB8:1:2::9", 64, "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", 128, "2001:db8:1:2::9/128"),
        ("2001:db8:1:2::9", 48, "2001:db8:1::/48"),
        ("::ffff:192.0.2.7", 64, "192.0.2.7"),
        ("::ffff:c000:207", 64, "192.0.2.7"),
        ("fe80::1%eth0", 64, "fe80::/64"),
        ("192.0.2.7%a:b", 64, "192.0.2.7"),
        ("unix:", 64, "unix:"),
        ("", 64, None),
    ],
)
def test_a_client_counts_by_its_network(ip: str, prefix: int, value: str | None) -> None:
    assert read(part(KeyFrom.CLIENT_IP, ipv6_prefix=prefix), ip=ip) == value


def test_an_api_key_is_never_returned_itself() -> None:
    api_key = part(KeyFrom.API_KEY, "x-api-key")
    secret = "gk_5up3r53cr37"
    value = read(api_key, headers={"X-Api-Key": secret})
    assert value == read(api_key, headers={"x-api-key": secret})
    assert value is not None
    assert secret not in value
    assert value != read(api_key, headers={"X-Api-Key": secret + "x"})
    assert encode_part(value) == "=" + value
    assert read(api_key, headers={"X-Api-Key": "\udce9"}) is not None
    assert read(api_key, headers={"X-Api-Key": ""}) is None
    assert read(api_key) is None


@pytest.mark.parametrize("blank", ["", " ", "\t", "\xa0", "\u2003", "\ufeff", "\udca0", "\x00", "\x1f "])
def test_blanks_around_a_value_make_no_other_caller(blank: str) -> None:
    assert read(part(KeyFrom.HEADER, "x-tenant"), headers={"X-Tenant": f"{blank}a b{blank}"}) == "a b"
    assert read(part(KeyFrom.HEADER, "x-tenant"), headers={"X-Tenant": blank}) is None
    quoted = quote(blank, errors="surrogateescape")
    assert read(part(KeyFrom.PATH, "id"), id=f"{quoted}a%20b{quoted}") == "a b"
    assert read(part(KeyFrom.QUERY, "id"), query=f"id={quoted}a+b{quoted}") == "a b"
    assert read(part(KeyFrom.QUERY, "id"), query=f"id={quoted}") is None
    api_key = part(KeyFrom.API_KEY, "x-api-key")
    assert read(api_key, headers={"X-Api-Key": f"{blank}k{blank}"}) == read(api_key, headers={"X-Api-Key": "k"})


@pytest.mark.parametrize("host", ["api.example", "API.Example", "api.example:8080", "api.example.", "Api.example.:80"])
def test_a_host_is_one_however_it_is_spelled(host: str) -> None:
    part = KeyPart("site", KeyFrom.HEADER, "host", OnMissing.REJECT)
    assert read_key(part, {"host": host}, {}, "", "") == "api.example"


@pytest.mark.parametrize(("host", "value"), [("[2001:DB8::1]:80", "[2001:db8::1]"), (":80", None), (".", None)])
def test_an_address_as_host_and_a_host_without_a_name(host: str, value: str | None) -> None:
    part = KeyPart("site", KeyFrom.HEADER, "host", OnMissing.REJECT)
    assert read_key(part, {"host": host}, {}, "", "") == value


def test_the_scheme_of_credentials_has_no_case() -> None:
    credential = part(KeyFrom.API_KEY, "authorization")
    spelled = ("Bearer k1", "bearer k1", "BEARER   k1", "Bearer\tk1 ")
    assert len({read(credential, headers={"Authorization": value}) for value in spelled}) == 1
    others = ("Bearer K1", "Basic k1", "Bearer k1 k2", "Bearerk1", "Bearer")
    values = {read(credential, headers={"Authorization": value}) for value in (*others, "Bearer k1")}
    assert len(values) == 6


@pytest.mark.parametrize("name", ["authorization", "cookie", "x-api-key", "apikey"])
def test_what_is_usually_a_secret_is_hashed_wherever_it_is_read_from(name: str) -> None:
    value = read(part(KeyFrom.HEADER, name), headers={name: "s3cret"})
    assert value == read(part(KeyFrom.API_KEY, name), headers={name: "s3cret"})
    assert value is not None
    assert "s3cret" not in value


def test_a_token_among_the_parameters_is_hashed() -> None:
    value = read(part(KeyFrom.QUERY, "access_token"), query="access_token=s3cret")
    assert value is not None
    assert value.startswith("key-")
    assert read(part(KeyFrom.QUERY, "access_token"), query="access_token=") is None


def test_a_partition_can_be_read_by_people() -> None:
    parts = {"connection": "c1", "tenant": None, "odd": "a b"}
    assert readable(partition("breaker:b", ("connection",), parts)) == "c1"
    assert readable(partition("breaker:b", ("connection", "tenant"), parts)) == "c1, ~"
    assert readable(partition("breaker:b", (), parts)) == "*"
    assert readable(partition("breaker:b", ("odd",), parts)).startswith("#")


def test_the_parts_of_a_partition_can_be_told_apart() -> None:
    parts = {"connection": "c1", "tenant": None, "operation": "read", "account": "a/b"}
    for key, found in (
        (("connection",), {"connection": "c1"}),
        (("tenant", "connection"), {"connection": "c1"}),
        (("connection", "tenant", "operation"), {"connection": "c1", "operation": "read"}),
        (("account", "connection"), {"connection": "c1"}),
        ((), {}),
    ):
        assert readable_parts(partition("pause:b", key, parts), key) == found


@given(
    st.sampled_from([KeyFrom.HEADER, KeyFrom.PATH, KeyFrom.QUERY]), st.text(st.characters(codec="utf-8"), max_size=30)
)
def test_what_a_value_is_read_as_is_read_as_itself(source: KeyFrom, text: str) -> None:
    the_part = part(source, "k")
    found = as_read(the_part, text)
    assert found == read(the_part, headers={"k": text}, query=f"k={quote(text, safe='')}", k=quote(text, safe=""))
    assert found is None or as_read(the_part, found) == found


@pytest.mark.parametrize(
    ("source", "text", "found"),
    [
        (KeyFrom.CLIENT_IP, "192.0.2.1", "192.0.2.1"),
        (KeyFrom.CLIENT_IP, "::ffff:192.0.2.1", "192.0.2.1"),
        (KeyFrom.CLIENT_IP, "2001:DB8::1", "2001:db8::/64"),
        (KeyFrom.CLIENT_IP, "2001:db8::/64", "2001:db8::/64"),
        (KeyFrom.CLIENT_IP, "192.0.2.0/24", None),
        (KeyFrom.CLIENT_IP, "nobody", None),
        (KeyFrom.JWT, " a ", " a "),
        (KeyFrom.API_KEY_ENTRY, " ", None),
    ],
)
def test_as_addresses_and_claims_are_read(source: KeyFrom, text: str, found: str | None) -> None:
    assert as_read(part(source, "k"), text) == found


@pytest.mark.parametrize(
    ("source", "name"),
    [(KeyFrom.API_KEY, "x-key"), (KeyFrom.HEADER, "cookie"), (KeyFrom.QUERY, "token")],
)
def test_secrets_are_read_as_hashes_which_are_themselves(source: KeyFrom, name: str) -> None:
    hidden = part(source, name)
    found = as_read(hidden, "abc123")
    assert hides(hidden)
    assert found == "key-c84123dc0b34d65944b100c4613e519e"
    assert as_read(hidden, found) == found
    assert not hides(part(source, "plain")) or source is KeyFrom.API_KEY
