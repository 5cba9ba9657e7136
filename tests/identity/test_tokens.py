"""Which tokens hold: signed by the right key in an allowed way, from the issuer, for us, now."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Sequence
from typing import Any

import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.access.authentication import Denied, Fault, Identity, Jwt
from gateway.identity.keys import PublicKey, read_jwks, read_keys
from gateway.identity.tokens import MAX_CANDIDATES, NO_KEYS, UNKNOWN_KEY, Tokens
from tests.fakes.issuer import AUDIENCE, ISSUER, claims, jwk, private_key, public_pem, token

ALL = ("RS256", "RS384", "PS256", "ES256", "ES384", "EdDSA")
SECRET = b"0123456789abcdef0123456789abcdef"


class Clock:
    """Wall clock that can be put forward."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


def scheme(algorithms: Sequence[str] = ("RS256",), **more: Any) -> Jwt:
    asked = frozenset({"org_id", "scope"})
    return Jwt(
        "staff", "authorization", ISSUER, (AUDIENCE, "other"), tuple(algorithms), leeway_s=0, claims=asked, **more
    )


def keys(*entries: dict[str, Any]) -> tuple[PublicKey, ...]:
    return read_jwks(json.dumps({"keys": entries}).encode())


def tokens(*entries: dict[str, Any], algorithms: Sequence[str] = ("RS256",), clock: Any = time.time) -> Tokens:
    return Tokens(scheme(algorithms), keys(*entries) if entries else (), clock)


def unsigned(header: dict[str, Any], payload: dict[str, Any], signature: bytes = b"") -> str:
    parts = [json.dumps(header).encode(), json.dumps(payload).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


@pytest.mark.parametrize("algorithm", ALL)
def test_a_good_token_says_who_is_calling(algorithm: str) -> None:
    kind = {"RS384": "RS256", "PS256": "RS256"}.get(algorithm, algorithm)
    signed = jwt.encode(claims(scope="a b"), private_key("k1", kind), algorithm, {"kid": "k1"})  # type: ignore[arg-type]
    found = tokens(jwk("k1", kind), algorithms=ALL).check(signed)
    assert found == Identity("staff", "k1", {"org_id": "acme", "scope": "a b"}, from_token=True)


def test_only_what_is_asked_for_is_kept() -> None:
    found = tokens(jwk("k1")).check(token(email="a@b.example"))
    assert isinstance(found, Identity)
    assert found.claims == {"org_id": "acme"}


NOW = int(time.time())
BAD = {
    "expired": (token(exp=NOW - 1), "expired"),
    "long expired": (token(exp=0), "expired"),
    "no exp": (token(exp=None), "lacks a required claim"),
    "not valid yet": (token(nbf=NOW + 1000), "not valid yet"),
    "issued in the future": (token(iat=NOW + 1000), "not valid yet"),
    "another audience": (token(aud="others"), "another audience"),
    "an audience that contains ours": (token(aud=AUDIENCE + "x"), "another audience"),
    "no audience": (token(aud=None), "lacks a required claim"),
    "an odd audience": (token(aud={"orders-api": 1}), "another audience"),
    "another issuer": (token(iss="https://issuer.example"), "another issuer"),
    "no issuer": (token(iss=None), "lacks a required claim"),
    "exp beyond all numbers": (token(exp=float("inf")), "malformed"),
    "exp as text": (token(exp="soon"), "malformed"),
    "signed by somebody else": (token("k2", header={"kid": "k1"}), "signature is wrong"),
    "an unknown key": (token("k2"), "unknown key"),
    "another key type": (token("k1", "ES256"), "algorithm is not allowed"),
    "PS for RS": (token("k1", "PS256"), "algorithm is not allowed"),
    "kid that is a path": (token("../../dev/null"), "unknown key"),
    "kid that is SQL": (token("k1' OR '1'='1"), "unknown key"),
    "kid that is empty": (token("k2", header={"kid": ""}), "unknown key"),
    "a crit of its own": (token(header={"crit": ["exp2"], "exp2": 1}), "malformed"),
    "its own key, embedded": (token("k2", header={"kid": "k1", "jwk": jwk("k2")}), "signature is wrong"),
    "its own key, elsewhere": (token("k2", header={"jku": "http://127.0.0.1:9/jwks.json"}), "unknown key"),
    "none": (unsigned({"alg": "none", "kid": "k1"}, claims()), "algorithm is not allowed"),
    "None": (unsigned({"alg": "None", "kid": "k1"}, claims()), "algorithm is not allowed"),
    "alg of another type": (unsigned({"alg": ["RS256"], "kid": "k1"}, claims(), b"x"), "algorithm is not allowed"),
    "no alg": (unsigned({"kid": "k1"}, claims(), b"x"), "algorithm is not allowed"),
    "kid of another type": (unsigned({"alg": "RS256", "kid": {"a": 1}}, claims(), b"x"), "malformed"),
    "no signature": (unsigned({"alg": "RS256", "kid": "k1"}, claims()), "signature is wrong"),
    "nothing": ("", "malformed"),
    "one part": ("abc", "malformed"),
    "three dots": ("a.b.c.d", "malformed"),
    "not ASCII": ("é.\udcff.c", "malformed"),
    "no object": (unsigned([], []), "malformed"),  # type: ignore[arg-type]
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_token_is_refused_each_time_with_its_reason(name: str) -> None:
    bad, reason = BAD[name]
    verifier = tokens(jwk("k1"))
    for _ in range(2):  # nothing bad is remembered as good
        found = verifier.check(bad)
        assert isinstance(found, Denied)
        assert found.fault is Fault.INVALID
        assert reason in found.reason


def test_a_public_key_is_never_a_secret() -> None:
    """The confusion of HMAC and RSA: a token signed with the text of the public key, in every form it is published."""
    pem = public_pem("k1")
    header, payload = {"alg": "HS256", "typ": "JWT", "kid": "k1"}, claims()
    for secret in (pem.encode(), pem.strip().encode(), json.dumps(jwk("k1")).encode()):
        signing = unsigned(header, payload).rstrip(".")
        forged = unsigned(header, payload, hmac.digest(secret, signing.encode(), hashlib.sha256))
        for algorithms in (("RS256",), ("RS256", "HS256")):  # the latter is refused when policies are loaded
            for known in (keys(jwk("k1")), read_keys(pem)):
                found = Tokens(scheme(algorithms), known, time.time).check(forged)
                assert isinstance(found, Denied), algorithms


def test_a_changed_token_does_not_hold() -> None:
    head, payload, signature = token().split(".")
    other = token(org_id="globex").split(".")[1]
    verifier = tokens(jwk("k1"))
    assert isinstance(verifier.check(f"{head}.{payload}.{signature}"), Identity)
    for changed in (f"{head}.{other}.{signature}", f"{head}.{payload}.{signature[:-2]}", f"{head}.{payload}."):
        assert isinstance(verifier.check(changed), Denied)


def test_deep_nesting_is_no_way_to_crash() -> None:
    deep = base64.urlsafe_b64encode(b'{"alg":' + b"[" * 50_000).rstrip(b"=").decode()
    assert isinstance(tokens(jwk("k1")).check(f"{deep}.e30.AA"), Denied)
    payload = base64.urlsafe_b64encode(b"[" * 50_000).rstrip(b"=")
    head = base64.urlsafe_b64encode(b'{"alg":"RS256"}').rstrip(b"=")
    signed = jwt.PyJWS().encode(b"[" * 50_000, private_key("k1"), "RS256", {"kid": "k1"})  # type: ignore[arg-type]
    assert isinstance(tokens(jwk("k1")).check(f"{head.decode()}.{payload.decode()}.AA"), Denied)
    assert isinstance(tokens(jwk("k1")).check(signed), Denied)


@settings(max_examples=200)
@given(st.text(max_size=200) | st.from_regex(r"[A-Za-z0-9_-]{0,40}\.[A-Za-z0-9_-]{0,40}\.[A-Za-z0-9_-]{0,40}"))
def test_no_text_is_a_token_by_accident(text: str) -> None:
    assert isinstance(tokens(jwk("k1")).check(text), Denied)


def test_a_token_without_a_key_name_is_tried_with_the_few_keys_it_may_be_signed_with() -> None:
    few = [jwk(f"n{number}") for number in range(MAX_CANDIDATES)]
    last = token(f"n{MAX_CANDIDATES - 1}", header={"kid": f"n{MAX_CANDIDATES - 1}"})
    assert isinstance(tokens(*few).check(last), Identity)
    nameless = jwt.encode(claims(), private_key("n2"), "RS256")  # type: ignore[arg-type]
    assert isinstance(tokens(*few).check(nameless), Identity)
    found = tokens(*few, jwk("n9")).check(nameless)
    assert isinstance(found, Denied)
    assert "too many keys" in found.reason
    assert isinstance(tokens(jwk("k1", "ES256"), algorithms=ALL).check(nameless), Denied)


def test_a_key_is_used_only_for_what_it_is_meant_for() -> None:
    found = tokens(jwk("k1", alg="PS256"), algorithms=ALL).check(token())
    assert isinstance(found, Denied)
    assert "does not fit the key" in found.reason


def test_a_shared_secret_signs_with_its_own_algorithm_only() -> None:
    verifier = Tokens(scheme(("HS256",), secret=SECRET), (), time.time)
    good = jwt.encode(claims(), SECRET, "HS256")
    assert isinstance(verifier.check(good), Identity)
    bad = verifier.check(jwt.encode(claims(), SECRET[::-1], "HS256"))
    assert isinstance(bad, Denied)
    assert "signature is wrong" in bad.reason
    assert isinstance(verifier.check(jwt.encode(claims(), SECRET * 2, "HS512")), Denied)


def test_a_token_is_remembered_until_it_expires() -> None:
    clock = Clock()
    verifier = tokens(jwk("k1"), clock=clock)
    shown = token()
    first = verifier.check(shown)
    assert verifier.check(shown) is first
    clock.ahead = 3600
    for _ in range(2):
        late = verifier.check(shown)
        assert isinstance(late, Denied)
        assert late.reason == "token expired"


def test_the_leeway_counts_for_remembered_tokens_too() -> None:
    clock = Clock()
    one = Jwt("staff", "authorization", ISSUER, (AUDIENCE,), ("RS256",), leeway_s=60)
    verifier = Tokens(one, keys(jwk("k1")), clock)
    shown = token(exp=int(time.time()) - 10)
    assert isinstance(verifier.check(shown), Identity)
    clock.ahead = 60
    assert isinstance(verifier.check(shown), Denied)


def test_what_is_remembered_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.identity.tokens.MAX_REMEMBERED", 2)
    verifier = tokens(jwk("k1"))
    one, two, three = (token(sub=name) for name in "abc")
    first = verifier.check(one)
    assert verifier.check(one) is first
    verifier.check(two)
    third = verifier.check(three)
    assert verifier.check(three) is third
    assert verifier.check(one) is not first  # the oldest was forgotten, and is verified anew
    assert verifier.check(one) == first


def test_a_key_that_is_gone_takes_its_tokens_along() -> None:
    verifier = tokens(jwk("k1"), jwk("k2"))
    shown = token()
    assert isinstance(verifier.check(shown), Identity)
    assert not verifier.use(keys(jwk("k1"), jwk("k2")))
    assert verifier.use(keys(jwk("k2")))
    assert verifier.check(shown) is UNKNOWN_KEY


def test_without_keys_nobody_is_blamed() -> None:
    assert tokens().check(token()) is NO_KEYS
    assert NO_KEYS.fault is Fault.UNAVAILABLE
