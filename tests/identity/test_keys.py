"""Which keys of a text are of use, and for what."""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.identity.keys import MAX_KEYS, BadKeys, read_jwks, read_keys
from tests.fakes.issuer import jwk, private_pem, public_pem

RSA = {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}


def key_set(*keys: dict[str, Any]) -> bytes:
    return json.dumps({"keys": keys}).encode()


def pem_of(public: Any) -> str:
    return str(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())


@pytest.mark.parametrize(
    ("algorithm", "good_for"),
    [("RS256", RSA), ("ES256", {"ES256"}), ("ES384", {"ES384"}), ("ES512", {"ES512"}), ("EdDSA", {"EdDSA"})],
)
def test_what_a_key_may_be_used_for_follows_from_the_key(algorithm: str, good_for: set[str]) -> None:
    (named,) = read_jwks(key_set(jwk("k", algorithm)))
    assert (named.kid, named.algorithms) == ("k", good_for)
    (nameless,) = read_keys(public_pem("k", algorithm))
    assert (nameless.kid, nameless.algorithms, nameless.key) == (None, good_for, named.key)


def test_a_jwk_may_narrow_it_and_not_widen_it() -> None:
    (key,) = read_jwks(key_set(jwk("k", alg="PS256")))
    assert key.algorithms == {"PS256"}
    for other in ("HS256", "none", "ES256", ["RS256"], {}):
        with pytest.raises(BadKeys):
            read_jwks(key_set(jwk("k", alg=other)))


@pytest.mark.parametrize(
    "useless",
    [
        {"kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA", "kid": "k", "alg": "HS256"},
        jwk("k", use="enc"),
        jwk("k", key_ops=["encrypt"]),
        jwk("k", key_ops=7),
        jwk("k", d="AQAB"),
        jwk("weak"),
        jwk("k", "ES256", crv="P-384"),
        jwk("k", "ES256", x="AAAA"),
        jwk("k", "EdDSA", crv="X25519"),
        {"kty": "RSA"},
        {"kty": ["RSA"]},
        {},
    ],
    ids=[
        "symmetric",
        "for encryption",
        "not to verify with",
        "odd operations",
        "private",
        "weak",
        "not on its curve",
        "no point",
        "for key agreement",
        "no numbers",
        "odd type",
        "empty",
    ],
)
def test_keys_of_no_use_are_passed_over(useless: dict[str, Any]) -> None:
    with pytest.raises(BadKeys):
        read_jwks(key_set(useless))
    assert [key.kid for key in read_jwks(key_set(useless, jwk("good")))] == ["good"]


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>", b"[]", b"7", b'{"keys": {}}', b'{"keys": []}', b'{"keys": ["k"]}', b"[" * 100_000, b"\xff", b"{}"],
)
def test_what_is_no_key_set(content: bytes) -> None:
    with pytest.raises(BadKeys):
        read_jwks(content)


def test_a_key_set_has_a_bound() -> None:
    assert len(read_jwks(key_set(*[jwk("k")] * MAX_KEYS))) == MAX_KEYS
    with pytest.raises(BadKeys, match="more than 100 keys"):
        read_jwks(key_set(*[jwk("k")] * (MAX_KEYS + 1)))


def test_a_file_holds_pem_keys_or_one_jwk_or_a_key_set() -> None:
    assert len(read_keys(public_pem("k1") + "\n" + public_pem("k2", "ES256"))) == 2
    assert read_keys(json.dumps(jwk("k1")))[0].kid == "k1"
    assert read_keys(json.dumps({"keys": [jwk("k1"), jwk("k2")]}))[1].kid == "k2"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (private_pem("k1"), "private key"),
        (public_pem("k1") + private_pem("k1"), "private key"),
        (public_pem("k1").replace("-----END", "-----EN"), "damaged"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "damaged"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "damaged"),
        (public_pem("weak"), "kind or size"),
        (pem_of(ec.generate_private_key(ec.SECP256K1()).public_key()), "kind or size"),
        (pem_of(x25519.X25519PrivateKey.generate().public_key()), "kind or size"),
        ("nothing", "not JSON"),
    ],
)
def test_texts_that_hold_none(text: str, reason: str) -> None:
    with pytest.raises(BadKeys, match=reason) as caught:
        read_keys(text)
    assert "AAAA" not in str(caught.value)


def test_a_key_so_large_that_checking_it_would_be_an_attack() -> None:
    numbers = rsa.RSAPublicNumbers(65537, (1 << 16_384) - 1)
    with pytest.raises(BadKeys):
        read_keys(pem_of(numbers.public_key()))
