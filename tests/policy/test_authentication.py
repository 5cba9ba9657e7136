"""Schemes of authentication in files: what is made of them, and exact message and position of what cannot be meant."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.cli.policies.checking import run_check
from gateway.core.access.authentication import DIGESTS, ApiKeys, Identity, Jwt, hash_text
from gateway.core.keys import KeyFrom, KeyPart, OnMissing
from gateway.policy import Report, check
from tests.fakes.issuer import jwk, private_pem, public_pem

Check = Callable[..., Report]
HASH = hash_text("gk_0123456789abcdef")
SHA256 = "sha256:" + DIGESTS["sha256"](b"gk_0123456789abcdef", b"").hex()
SECRET = "0123456789abcdef0123456789abcdef"
TOKENS = "type: jwt, issuer: i, audience: a, algorithms: RS256"


def a_scheme(text: str, more: str = "") -> str:
    """A whole file with one scheme, on line 2, its text from column 7 on."""
    return f"""\
authentication:
  s: {{{text}}}
upstreams:
  api: {{url: 'builtin:echo'}}
routes:
  - {{name: all, upstream: api, authenticate: [s]}}
{more}"""


def a_user(route: str, part: str = "from: jwt, claim: org, on_missing: skip") -> str:
    """A whole file with a key part on line 4 and a route on line 10, its text from column 6 on."""
    return f"""\
authentication:
  s: {{type: api_keys, keys: [{{hash: "{HASH}"}}]}}
keys:
  tenant: {{{part}}}
upstreams:
  api: {{url: 'builtin:echo'}}
limits:
  l: {{algorithm: concurrency, limit: 1, key: [tenant]}}
routes:
  - {{name: r, upstream: api, limits: [l], {route}}}
"""


BAD = {
    "an unknown type": (
        a_scheme("type: oidc"),
        "p.yaml:2:13: expected api_keys or jwt, got the text 'oidc' [unknown-value]",
    ),
    "no type": (a_scheme("issuer: i"), "p.yaml:2:3: key 'type' is missing (one of api_keys, jwt) [missing-key]"),
    "no keys": (
        a_scheme("type: api_keys"),
        "p.yaml:2:3: scheme 's' knows no key: it lets nobody in [empty]",
    ),
    "the key itself": (
        a_scheme("type: api_keys, keys: [{hash: gk_0123456789abcdef}]"),
        "p.yaml:2:37: this is not the hash of an API key (make one with: gateway hash-key) [inline-secret]",
    ),
    "a key twice": (
        a_scheme(f'type: api_keys, keys: [{{hash: "{HASH}"}}, {{hash: "{HASH}"}}]'),
        "p.yaml:2:121: this key stands twice: see p.yaml:2 [duplicate-name]",
    ),
    "a claim that nobody reads": (
        a_scheme(f'type: api_keys, keys: [{{hash: "{HASH}", claims: {{tenent: a}}}}]'),
        "p.yaml:2:122: 'tenent' is neither a key part nor required by a route [undefined-name]",
    ),
    "a claim that is a number": (
        a_scheme(f'type: api_keys, keys: [{{hash: "{HASH}", claims: {{tenant: 42}}}}]'),
        "p.yaml:2:130: expected text or a list of texts, got the number 42 (put it in quotes) [wrong-type]",
    ),
    "a pepper in the file": (
        a_scheme(f'type: api_keys, pepper: hush-hush, keys: [{{hash: "{HASH}"}}]'),
        "p.yaml:2:31: the pepper must not be written in the file (refer to it: env:NAME or file:/path) [inline-secret]",
    ),
    "a pepper that is not there": (
        a_scheme(f'type: api_keys, pepper: "env:GATEWAY_NO_SUCH", keys: [{{hash: "{HASH}"}}]'),
        "p.yaml:2:31: environment variable GATEWAY_NO_SUCH is not set [missing-secret]",
    ),
    "a header that frames": (
        a_scheme(f'type: api_keys, header: Content-Length, keys: [{{hash: "{HASH}"}}]'),
        "p.yaml:2:31: credentials cannot come in 'content-length' [bad-header-name]",
    ),
    "no algorithm at all": (
        a_scheme("type: jwt, issuer: i, audience: a, algorithms: none, jwks: 'https://i'"),
        "p.yaml:2:54: expected one of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA, HS256, HS384, HS512, got the text 'none' [unknown-value]",
    ),
    "no source of keys": (
        a_scheme(TOKENS),
        "p.yaml:2:3: give exactly one of jwks, keys and secret [missing-key]",
    ),
    "two sources of keys": (
        a_scheme(f"{TOKENS}, jwks: 'https://i', secret: 'env:SECRET'"),
        "p.yaml:2:3: give exactly one of jwks, keys and secret [conflicting-keys]",
    ),
    "a secret for public keys": (
        a_scheme("type: jwt, issuer: i, audience: a, algorithms: [RS256, HS256], jwks: 'https://i'"),
        "p.yaml:2:62: HS256 needs a secret; this scheme has jwks [conflicting-keys]",
    ),
    "public keys for a secret": (
        a_scheme("type: jwt, issuer: i, audience: a, algorithms: [HS256, RS256], secret: 'env:SECRET'"),
        "p.yaml:2:62: RS256 needs public keys (jwks or keys); this scheme has secret [conflicting-keys]",
    ),
    "a secret in the file": (
        a_scheme("type: jwt, issuer: i, audience: a, algorithms: HS256, secret: hush-hush"),
        "p.yaml:2:69: the secret must not be written in the file (refer to it: env:NAME or file:/path) [inline-secret]",
    ),
    "a secret that is too short": (
        a_scheme("type: jwt, issuer: i, audience: a, algorithms: HS512, secret: 'env:SECRET'"),
        "p.yaml:2:69: the secret must have at least 64 bytes [weak-secret]",
    ),
    "a key set over http": (
        a_scheme(f"{TOKENS}, jwks: 'http://i.example/jwks.json'"),
        "p.yaml:2:67: keys fetched over http could be anybody's (write it like https://login.example.com/jwks.json) [bad-url]",
    ),
    "a key set at no URL": (
        a_scheme(f"{TOKENS}, jwks: 'file:///jwks.json'"),
        "p.yaml:2:67: 'file:///jwks.json' is not a URL (write it like https://login.example.com/jwks.json) [bad-url]",
    ),
    "a key set at no port": (
        a_scheme(f"{TOKENS}, jwks: 'https://i:x/'"),
        "p.yaml:2:67: 'https://i:x/' is not a URL (write it like https://login.example.com/jwks.json) [bad-url]",
    ),
    "a password in a URL": (
        a_scheme(f"{TOKENS}, jwks: 'https://u:hush-hush@i'"),
        "p.yaml:2:67: such a URL holds no user or password (remove everything up to the @) [inline-secret]",
    ),
    "times out of range": (
        a_scheme(f"{TOKENS}, jwks: 'https://i', leeway: 1h, refresh: 1s"),
        "p.yaml:2:88: the leeway must be at most 10m [out-of-range]",
        "p.yaml:2:101: keys are fetched every 10s at most [out-of-range]",
    ),
    "a scheme that is not there": (
        a_user("authenticate: [t]"),
        "p.yaml:10:58: scheme 't' is not defined (known: s) [undefined-name]",
    ),
    "a scheme twice": (
        a_user("authenticate: [s, s]"),
        "p.yaml:10:61: scheme 's' stands twice on this route [duplicate-name]",
    ),
    "a part that nobody vouches for": (
        a_user("match: {}"),
        "p.yaml:10:39: limit 'l' counts by 'tenant' from jwt, which nobody vouches for (authenticate: [name of a scheme]) [no-authentication]",
    ),
    "a requirement that nobody meets": (
        a_user("require: {scope: a}", "from: client_ip"),
        "p.yaml:10:43: require needs callers that are known (authenticate: [name of a scheme]) [no-authentication]",
    ),
    "a requirement that breaks a header": (
        a_user('authenticate: [s], require: {scope: "a\\r\\nb"}'),
        "p.yaml:10:79: a required value is ASCII text without quotes and backslashes [bad-value]",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_each_mistake_is_said_where_it_stands(
    name: str, errors_of: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", SECRET)
    text, *expected = BAD[name]
    assert errors_of(text) == expected


def test_an_entry_is_not_believed_where_a_header_is(errors_of: Callable[..., list[str]]) -> None:
    text = a_user("authenticate: [s]", "from: header, name: X-T, on_missing: skip")
    text = text.replace(f'{{hash: "{HASH}"}}', f'{{hash: "{HASH}", claims: {{tenant: acme}}}}')
    assert errors_of(text) == [
        "p.yaml:2:122: key part 'tenant' is read from header, not from API keys "
        "(tenant: {from: api_key_entry, on_missing: reject}) [not-vouched]"
    ]


def test_tokens_do_not_vouch_for_what_entries_say(errors_of: Callable[..., list[str]]) -> None:
    text = a_user("authenticate: [s]", "from: api_key_entry, on_missing: skip")
    text = text.replace(f'type: api_keys, keys: [{{hash: "{HASH}"}}]', f"{TOKENS}, jwks: 'https://i'")
    (error,) = errors_of(text)
    assert "from api_key_entry, which nobody vouches for" in error


def test_no_line_with_a_secret_is_shown(report_of: Check) -> None:
    for text in (
        a_scheme("type: api_keys, keys: [{hash: hush-hush}]"),
        a_scheme("type: jwt, issuer: i, audience: a, algorithms: HS256, secret: hush-hush"),
        a_scheme(f"{TOKENS}, jwks: 'https://u:hush-hush@i'"),
    ):
        assert "hush" not in str(report_of(text).errors)


def test_a_secret_that_is_weak_is_not_shown(report_of: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "hush-hush")
    for text in (
        a_scheme("type: jwt, issuer: i, audience: a, algorithms: HS256, secret: 'env:SECRET'"),
        a_scheme(f"type: api_keys, pepper: 'env:SECRET', keys: [{{hash: '{HASH}'}}]"),
    ):
        report = report_of(text)
        assert [error.code for error in report.errors] == ["weak-secret"]
        assert "hush" not in str(report)


def test_api_keys_are_read_from_policy_and_file(
    report_of: Check, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PEPPER", "0123456789abcdef")
    peppered = hash_text("gk_two", b"0123456789abcdef")
    (directory / "keys.yaml").write_text(f'- {{id: two, hash: "{peppered.upper().replace("BLAKE2B", "blake2b")}"}}\n')
    text = a_scheme(
        f'type: api_keys, header: Authorization, pepper: "env:PEPPER", file: keys.yaml, forward_credentials: true, '
        f'keys: [{{hash: "{HASH}", claims: {{tenant: acme, role: [a, b]}}}}]',
        "keys: {tenant: {from: api_key_entry, on_missing: reject}}\n",
    ).replace("authenticate: [s]", "authenticate: [s], require: {role: a}")
    report = report_of(text)
    assert report.errors == ()
    assert report.policies is not None
    digits = HASH.partition(":")[2]
    scheme = report.policies.authentication["s"]
    assert scheme == ApiKeys(
        "s",
        "authorization",
        {
            "blake2b": {
                bytes.fromhex(digits): Identity("s", digits[:8], {"tenant": ("acme",), "role": ("a", "b")}),
                bytes.fromhex(peppered.partition(":")[2]): Identity("s", "two", {}),
            }
        },
        True,
        b"0123456789abcdef",
        "p.yaml:2",
    )
    assert report.policies.keys["tenant"] == KeyPart("tenant", KeyFrom.API_KEY_ENTRY, "", OnMissing.REJECT)
    (route,) = report.policies.routes
    assert (route.authenticate, route.require, route.credential_fields) == ((scheme,), (("role", "a"),), frozenset())


def test_schemes_of_tokens_are_read_with_their_keys(
    report_of: Check, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", SECRET)
    (directory / "k.pem").write_text(public_pem("k1"))
    (directory / "k.json").write_text(json.dumps(jwk("k2")))
    remote = a_scheme(f"{TOKENS}, jwks: 'https://i/jwks.json', ca_file: ca.pem, refresh: 1m, leeway: 0s")
    report = report_of(
        remote.replace("authenticate: [s]", "authenticate: [s, t, u], require: {scope: x}")
        + "keys: {tenant: {from: jwt, claim: org_id, on_missing: skip}}\n",
        """\
authentication:
  t: {type: jwt, issuer: i, audience: [a, b], algorithms: [ES256, EdDSA], keys: [k.pem, k.json], header: X-Token}
  u: {type: jwt, issuer: i, audience: a, algorithms: HS256, secret: "env:SECRET"}
""",
    )
    assert report.errors == ()
    assert report.policies is not None
    asked = frozenset({"org_id", "scope"})
    common = {"claims": asked, "issuer": "i"}
    assert report.policies.authentication == {
        "s": Jwt(
            "s", "authorization", audience=("a",), algorithms=("RS256",), jwks="https://i/jwks.json",
            ca_file="ca.pem", refresh_us=60_000_000, leeway_s=0, source="p.yaml:2", **common,
        ),
        "t": Jwt(
            "t", "x-token", audience=("a", "b"), algorithms=("ES256", "EdDSA"),
            keys=(public_pem("k1"), json.dumps(jwk("k2"))), source="q.yaml:2", **common,
        ),
        "u": Jwt(
            "u", "authorization", audience=("a",), algorithms=("HS256",), secret=SECRET.encode(),
            source="q.yaml:3", **common,
        ),
    }  # fmt: skip


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000/jwks", "http://localhost/jwks", "http://[::1]/jwks"])
def test_a_key_set_on_this_machine(report_of: Check, url: str) -> None:
    assert report_of(a_scheme(f"{TOKENS}, jwks: '{url}'")).errors == ()


@pytest.mark.parametrize(
    ("content", "reason"),
    [(private_pem("k1"), "a private key: only the public part belongs here"), ("{}", "no usable public key")],
)
def test_a_file_without_public_keys(
    errors_of: Callable[..., list[str]], directory: Path, content: str, reason: str
) -> None:
    (directory / "k.pem").write_text(content)
    assert errors_of(a_scheme(f"{TOKENS}, keys: k.pem")) == [
        f"p.yaml:2:67: no public keys in k.pem: {reason} [bad-key-file]"
    ]


def test_a_file_of_keys_is_checked_like_a_policy_and_never_shown(report_of: Check, directory: Path) -> None:
    (directory / "keys.yaml").write_text('- {hash: "hush-hush"}\n- {kye: "hush-hush"}\n')
    report = report_of(a_scheme("type: api_keys, file: keys.yaml"))
    assert [str(error) for error in report.errors] == [
        "keys.yaml:1:10: this is not the hash of an API key (make one with: gateway hash-key) [inline-secret]",
        "keys.yaml:2:3: key 'hash' is missing [missing-key]",
        "keys.yaml:2:4: unknown key 'kye' (known: claims, hash, id) [unknown-key]",
    ]
    assert "hush" not in str(report)


def test_a_file_of_keys_that_is_not_there(errors_of: Callable[..., list[str]]) -> None:
    assert errors_of(a_scheme("type: api_keys, file: keys.yaml")) == [
        "keys.yaml: cannot be read: No such file or directory [not-found]"
    ]


def test_another_file_of_keys_is_another_version(report_of: Check, directory: Path) -> None:
    text = a_scheme("type: api_keys, file: keys.yaml")
    versions = []
    for hash_ in (HASH, HASH, SHA256):
        (directory / "keys.yaml").write_text(f'- {{hash: "{hash_}"}}\n')
        policies = report_of(text).policies
        assert policies is not None
        versions.append(policies.version)
    assert versions[0] == versions[1] != versions[2]


def test_sha256_takes_no_pepper(report_of: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PEPPER", "0123456789abcdef")
    text = f'type: api_keys, pepper: "env:PEPPER", keys: [{{hash: "{SHA256}"}}]'
    assert [error.code for error in report_of(a_scheme(text)).errors] == ["conflicting-keys"]
    assert report_of(a_scheme(text.replace('pepper: "env:PEPPER", ', ""))).errors == ()


def test_secrets_come_from_the_variables_that_are_given(directory: Path) -> None:
    (directory / "p.yaml").write_text(
        a_scheme("type: jwt, issuer: i, audience: a, algorithms: HS256, secret: 'env:SECRET'")
    )
    assert check([directory], env={"SECRET": SECRET}).errors == ()
    assert [error.code for error in check([directory], env={}).errors] == ["missing-secret"]


def test_tokens_without_their_library(errors_of: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jwt", None)
    assert errors_of(a_scheme(f"{TOKENS}, jwks: 'https://i'")) == [
        "p.yaml:2:13: tokens need PyJWT[crypto], which is missing (pip install 'ratelimit-gateway[jwt]') [missing-library]"
    ]


def test_unused_schemes_are_pointed_out(report_of: Check) -> None:
    report = report_of(a_scheme(f"{TOKENS}, jwks: 'https://i'").replace("authenticate: [s]", "authenticate: []"))
    assert [(warning.code, warning.message) for warning in report.warnings] == [
        ("unused", "scheme 's' is defined but not used")
    ]


@pytest.mark.parametrize("output", ["text", "json"])
def test_what_would_run_is_shown_without_secrets(
    directory: Path, output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (directory / "k.pem").write_text(public_pem("k1"))
    (directory / "p.yaml").write_text(
        a_scheme(f'type: api_keys, pepper: "env:PEPPER", keys: [{{hash: "{HASH}"}}]').replace("[s]", "[s, t]")
        + "# more\n"
    )
    (directory / "q.yaml").write_text(f"authentication: {{t: {{{TOKENS}, keys: k.pem}}}}\n")
    env = {"PEPPER": "hush-hush-hush-hush"}
    assert run_check([Path("p.yaml"), Path("q.yaml")], strict=False, print_effective=True, output=output, env=env) == 0
    shown = capsys.readouterr().out
    assert "hush" not in shown
    assert HASH.partition(":")[2][:8] not in shown
    assert "BEGIN" not in shown
    if output == "text":
        assert "s                        1 API keys in x-api-key  # p.yaml:2" in shown
        assert "t                        RS256 tokens of i in authorization  # q.yaml:1" in shown
        assert "(no limits; callers known by s or t)" in shown
    else:
        effective = json.loads(shown)["effective"]["policies"]
        assert effective["authentication"]["t"]["issuer"] == "i"
        assert effective["routes"][0]["authenticate"] == ["s", "t"]
