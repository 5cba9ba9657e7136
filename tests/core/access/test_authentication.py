"""Credentials found in fields, API keys found by hash, claims compared, challenges told."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from gateway.core.access.authentication import (
    DIGESTS,
    NO_CREDENTIALS,
    UNKNOWN_API_KEY,
    ApiKeys,
    Denied,
    Fault,
    Identity,
    Jwt,
    claim_text,
    credential,
    find_entry,
    hash_text,
    meets,
)
from gateway.core.access.challenges import forbidden, not_vouched, unauthenticated
from gateway.core.keys import KeyFrom, KeyPart, OnMissing, read_key, vouched
from gateway.core.policy import Match, Route
from gateway.core.upstream import Upstream

ACME = Identity("partners", "acme", {"tenant": ("acme",), "scope": ("orders.read", "orders.write")})
TOKEN = Identity("staff", "k1", {"tenant": "acme", "org": 42, "scope": "a b"}, from_token=True)


def digest(name: str, key: str, pepper: bytes = b"") -> bytes:
    return DIGESTS[name](key.encode(), pepper)


def by_key(header: str = "x-api-key", *, forward: bool = False) -> ApiKeys:
    return ApiKeys("partners", header, {}, forward)


def by_token(header: str = "authorization") -> Jwt:
    return Jwt("staff", header, "https://issuer.example", ("orders",), ("RS256",))


@pytest.mark.parametrize(
    ("header", "fields", "shown"),
    [
        ("x-api-key", [], None),
        ("x-api-key", [("X-API-Key", "k")], "k"),
        ("x-api-key", [("X-Api-Key", "")], ""),
        ("x-api-key", [("X-Api-Key", "k"), ("x-api-key", "k")], ""),
        ("authorization", [("Authorization", "Bearer t")], "t"),
        ("authorization", [("Authorization", "bEARER  t ")], "t"),
        ("authorization", [("Authorization", "Bearer")], ""),
        ("authorization", [("Authorization", "Basic dTpw")], None),
        ("authorization", [("Authorization", "Bearert")], None),
        ("authorization", [("Authorization", "Bearer t"), ("Authorization", "Bearer t")], ""),
    ],
)
def test_what_a_request_shows(header: str, fields: list[tuple[str, str]], shown: str | None) -> None:
    assert credential(header, CIMultiDict(fields)) == shown


def test_keys_are_found_by_any_hash_in_use() -> None:
    entries = {
        "blake2b": {digest("blake2b", "one", b"pepper"): ACME},
        "sha256": {digest("sha256", "two"): TOKEN},
    }
    scheme = ApiKeys("partners", "x-api-key", entries, pepper=b"pepper")
    assert find_entry(scheme, "one") is ACME
    assert find_entry(scheme, "two") is TOKEN
    for wrong in ("", "One", "one ", "\udcff", "blake2b"):
        assert find_entry(scheme, wrong) == UNKNOWN_API_KEY
    assert find_entry(ApiKeys("partners", "x-api-key", entries), "one") == UNKNOWN_API_KEY  # without the pepper


@given(st.text(), st.text(), st.binary(max_size=64))
def test_two_keys_have_two_hashes(one: str, other: str, pepper: bytes) -> None:
    assert (hash_text(one, pepper) == hash_text(other, pepper)) == (one == other)


def test_the_hash_of_a_key_stays_what_it_is() -> None:
    """It stands in people's files."""
    assert hash_text("gk_test") == "blake2b:e24db0a43580a0af522c0c37da1e861b8e3dc036df30efab102a5b0b4cbbca7a"
    assert hash_text("gk_test", b"pepper") != hash_text("gk_test")


def test_secrets_do_not_show_themselves() -> None:
    text = repr(ApiKeys("p", "x-api-key", {}, pepper=b"hush-hush"))
    text += repr(Jwt("s", "authorization", "i", ("a",), ("HS256",), secret=b"hush-hush", keys=("hush-hush",)))
    assert "hush" not in text


@pytest.mark.parametrize(
    ("claim", "name", "value", "has"),
    [
        ("admin", "role", "admin", True),
        ("admin user", "role", "admin", False),
        ("administrator", "role", "admin", False),
        ("orders.read orders.write", "scope", "orders.write", True),
        ("orders.readonly", "scope", "orders.read", False),
        ("a b", "scp", "b", True),
        (["a", "b"], "scope", "b", True),
        (("a", "b"), "role", "c", False),
        (None, "role", "admin", False),
        (True, "role", "True", False),
        ({"admin": 1}, "role", "admin", False),
    ],
)
def test_what_a_route_may_require(claim: object, name: str, value: str, has: bool) -> None:
    assert meets([(name, value)], Identity("s", "k", {name: claim})) is has


def test_everything_required_is_required() -> None:
    assert meets([("tenant", "acme"), ("scope", "orders.read")], ACME)
    assert not meets([("tenant", "acme"), ("scope", "orders.delete")], ACME)
    assert meets([], ACME)


@pytest.mark.parametrize(
    ("claim", "text"),
    [
        ("a", "a"), (7, "7"), (0, "0"), (True, None), (1.5, None), (None, None), ({}, None),
        (["a"], "a"), (("a",), "a"), (["a", "b"], None), ([], None), ([["a"]], None),
    ],
)  # fmt: skip
def test_claims_as_values_of_key_parts(claim: object, text: str | None) -> None:
    assert claim_text(claim) == text


@pytest.mark.parametrize(
    ("source", "claim", "identity", "value"),
    [
        (KeyFrom.JWT, "org", TOKEN, "42"),
        (KeyFrom.JWT, "none", TOKEN, None),
        (KeyFrom.JWT, "org", ACME, "acme"),
        (KeyFrom.API_KEY_ENTRY, "", ACME, "acme"),
        (KeyFrom.API_KEY_ENTRY, "", TOKEN, None),
        (KeyFrom.JWT, "e", Identity("s", "k", {"e": ""}, from_token=True), None),
        (KeyFrom.JWT, "e", Identity("s", "k", {"e": " \u00a0"}, from_token=True), None),
        (KeyFrom.JWT, "e", Identity("s", "k", {"e": " a"}, from_token=True), " a"),
    ],
)
def test_key_parts_that_credentials_vouch_for(
    source: KeyFrom, claim: str, identity: Identity, value: str | None
) -> None:
    part = KeyPart("tenant", source, claim, OnMissing.REJECT)
    assert vouched(part, identity) == value
    headers = {"tenant": "spoofed", "org": "spoofed", "x-tenant-id": "spoofed", "": "spoofed"}
    assert read_key(part, headers, headers, "tenant=spoofed&org=spoofed", "192.0.2.1") is None


def test_what_is_not_forwarded() -> None:
    upstream = Upstream("u", "http", "localhost", 80, "localhost")
    one = Route("r", Match(), upstream, authenticate=(by_key(), by_token(), by_key("x-other", forward=True)))
    assert one.credential_fields == {
        b"x-api-key",
        b"authorization",
        b"x_api-key",
        b"x-api_key",
        b"x_api_key",
        b"x_other",
    }
    assert Route("r", Match(), upstream).credential_fields == frozenset()


def test_challenges() -> None:
    schemes = (by_token(), by_key(), by_key("authorization"))
    refusal = unauthenticated(NO_CREDENTIALS, schemes, "gw")
    assert (refusal.kind.status, refusal.kind.code) == (401, "UNAUTHENTICATED")
    assert refusal.extra_fields == (
        ("WWW-Authenticate", 'Bearer realm="gw"'),
        ("WWW-Authenticate", 'ApiKey realm="gw", header="x-api-key"'),
    )
    refusal = unauthenticated(Denied(Fault.INVALID, "secret reason"), schemes, "gw")
    assert refusal.extra_fields[0] == ("WWW-Authenticate", 'Bearer realm="gw", error="invalid_token"')
    assert "secret reason" not in repr(refusal)


def test_a_caller_is_not_blamed_for_keys_that_are_not_there() -> None:
    refusal = unauthenticated(Denied(Fault.UNAVAILABLE, "r"), (by_token(),), "gw")
    assert (refusal.kind.status, refusal.retry_after_s, refusal.extra_fields) == (503, 1, ())


def test_a_known_caller_is_told_what_is_missing() -> None:
    refusal = forbidden([("role", "x"), ("scope", "a"), ("scp", "b")], (by_token(),), "gw")
    assert (refusal.kind.status, refusal.kind.code) == (403, "FORBIDDEN")
    value = 'Bearer realm="gw", error="insufficient_scope", scope="a b"'
    assert refusal.extra_fields == (("WWW-Authenticate", value),)
    value = 'Bearer realm="gw", error="insufficient_scope"'
    assert forbidden([("role", "x")], (by_token(),), "gw").extra_fields == (("WWW-Authenticate", value),)
    refusal = not_vouched("tenant")
    assert (refusal.kind.status, refusal.detail) == (403, "The credentials have no value for the key part tenant.")
