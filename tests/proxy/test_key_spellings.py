"""However a caller spells who it is, from every source: the same counter, another caller, or no. The table of
`docs/policies.md`, on the wire.

`same` is a spelling that some server takes for the same caller: it must not buy a second budget. `other` is a caller
of its own to every server: it must not spend anybody else's. What can be taken for either is refused.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

import pytest

from gateway.core.access.authentication import hash_text
from tests.app.conftest import Running, Start
from tests.fakes.issuer import ISSUER, public_pem, token
from tests.fakes.upstream import Upstream
from tests.proxy.test_identity import statuses

BUDGET = 3
POLICIES = """
version: 1
authentication:
  partners:
    type: api_keys
    keys:
      - {hash: "%(one)s", claims: {entry: acme}}
      - {hash: "%(two)s", claims: {entry: acme}}
      - {hash: "%(three)s", claims: {entry: Acme}}
  staff: {type: jwt, issuer: "%(issuer)s", audience: orders-api, algorithms: [RS256], keys: ["%(pem)s"]}
keys:
  header: {from: header, name: X-Tenant-Id, on_missing: reject}
  api_key: {from: api_key, name: X-Api-Key, on_missing: reject}
  bearer: {from: api_key, name: Authorization, on_missing: reject}
  path: {from: path, name: id, on_missing: reject}
  query: {from: query, name: tenant_id, on_missing: reject}
  client_ip: {from: client_ip, on_missing: reject}
  entry: {from: api_key_entry, on_missing: reject}
  claim: {from: jwt, claim: org_id, on_missing: reject}
limits:
%(limits)s
upstreams: {up: {url: "%(url)s"}}
routes:
  - {name: header, match: {path_prefix: /header/}, upstream: up, limits: [header]}
  - {name: api_key, match: {path_prefix: /api_key/}, upstream: up, limits: [api_key]}
  - {name: bearer, match: {path_prefix: /bearer/}, upstream: up, limits: [bearer]}
  - {name: path, match: {path: "/path/{id}/**"}, upstream: up, limits: [path]}
  - {name: query, match: {path_prefix: /query/}, upstream: up, limits: [query]}
  - {name: client_ip, match: {path_prefix: /client_ip/}, upstream: up, limits: [client_ip]}
  - {name: entry, match: {path_prefix: /entry/}, upstream: up, limits: [entry], authenticate: [partners]}
  - {name: claim, match: {path_prefix: /claim/}, upstream: up, limits: [claim], authenticate: [staff]}
"""
SOURCES = ("header", "api_key", "bearer", "path", "query", "client_ip", "entry", "claim")
COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "müller") for form in ("NFC", "NFD"))
Case = tuple[bytes, str]
OUTCOMES = {"same": 429, "other": 200, "refused": 400, "unknown": 401}


def call(target: str, *lines: bytes) -> bytes:
    return b"\r\n".join((f"GET {target} HTTP/1.1".encode(), b"Host: a", *lines, b"", b""))


def field(target: str, name: str, cases: Sequence[tuple[bytes | None, str]], prefix: bytes = b"") -> list[Case]:
    """Requests with that value in a field; None: without it."""
    lines = [() if value is None else (name.encode() + b": " + prefix + value,) for value, _ in cases]
    return [(call(target, *some), outcome) for some, (_, outcome) in zip(lines, cases, strict=True)]


VALUES: list[tuple[bytes | None, str]] = [
    (b"acme", "same"),
    (b"   acme \t ", "same"),
    (b"acme\xc2\xa0", "same"),  # blanks to servers that trim: NBSP as UTF-8,
    (b"acme\xa0\xa0", "same"),  # as Latin-1,
    (b"\xe2\x80\x83acme", "same"),  # EM SPACE
    (b"Acme", "other"),
    (b"ac me", "other"),
    (b"ac  me", "other"),
    (b"ac\tme", "other"),
    (b"acme,other", "other"),
    (b"acme;v=1", "other"),
    (b'"acme"', "other"),
    (b"%61cme", "other"),  # a field is not percent-decoded
    (b"=acme", "other"),
    (b"~", "other"),
    (b"*", "other"),
    (b"#5f4dcc3b5aa765d61d8327deb882cf99", "other"),
    (b"acme:{other}", "other"),
    (COMPOSED.encode(), "other"),
    (DECOMPOSED.encode(), "other"),
    (COMPOSED.encode("latin-1"), "other"),
    (b"\xff\xfe", "other"),
    (b"\xed\xb3\xa9", "other"),  # a surrogate, as no UTF-8
    (b"\xe9", "other"),
    (b"a" * 64, "other"),
    (b"a" * 65, "other"),
    (b"a" * 8192, "other"),
    (b"a" * 8191 + b"b", "other"),
    (b"", "refused"),
    (b" \t ", "refused"),
    (b"\xc2\xa0", "refused"),
    (b"acme\x00", "refused"),
    (b"ac\x01me", "refused"),
    (None, "refused"),
]
FIELDS = [
    ([b"x-tenant-ID: acme"], "same"),
    ([b"X-Tenant-Id:acme"], "same"),
    ([b"X-Tenant-Id: acme", b"X_Tenant_Id: other"], "same"),
    ([b"X_Tenant-Id: other", b"X-Tenant-Id: acme", b"x-tenant_id: third"], "same"),
    ([b"X-Tenant-Id: acme", b"X-Tenant-Id: acme"], "refused"),
    ([b"X-Tenant-Id: fresh", b"x-tenant-id: acme"], "refused"),
    ([b"X-Tenant-Id: ", b"X-Tenant-Id: acme"], "refused"),
    ([b"X_Tenant_Id: acme"], "refused"),
    ([b"X-Tenant-Id : acme"], "refused"),
    ([b"X-Tenant-Id: fresh", b" acme"], "refused"),
]
PATHS = [
    ("/path/acme/x", "same"),
    ("/path/acme/", "same"),
    ("/path/acme", "same"),
    ("/path/%61cm%65/x", "same"),
    ("/path/acme%20/x", "same"),
    ("/path/%09acme%c2%a0/x", "same"),
    ("/path/acme//x/./y;z/%2e/", "same"),
    ("/path/acme?id=other", "same"),
    ("/path/Acme/x", "other"),
    ("/path/ac%20me/x", "other"),
    ("/path/ac+me/x", "other"),
    ("/path/" + quote(COMPOSED), "other"),
    ("/path/" + quote(DECOMPOSED), "other"),
    ("/path/m%fcller", "other"),
    ("/path/100%25", "other"),
    ("/path/100%", "counts as 100%25"),
    ("/path/~", "other"),
    ("/path/" + "a" * 8192, "other"),
    ("/path/" + "%C3%A9" * 1024, "other"),
    ("/path/acme;v=1/x", "refused"),
    ("/path/acme%3Bv=1/x", "refused"),
    ("/path/acme%2Fx", "refused"),
    ("/path/acme%5cx", "refused"),
    ("/path/acme\\x", "refused"),
    ("/path/%2561cme/x", "refused"),
    ("/path/./acme/x", "refused"),
    ("/path/;/acme/x", "refused"),
    ("/path/x/../acme/x", "refused"),
    ("/path/x/%2e%2e/acme", "refused"),
    ("/path/%20", "refused"),
]
QUERIES = [
    ("tenant_id=acme", "same"),
    ("x=1&tenant_id=acme&y=2", "same"),
    ("tenant%5Fi%64=%61cme", "same"),
    ("tenant_id=+acme%20", "same"),
    ("tenant_id=acme%c2%a0", "same"),
    ("&&tenant_id=acme&&", "same"),
    ("tenant_id=acme&a=1;b=2", "same"),
    ("tenant_id=Acme", "other"),
    ("tenant_id=ac+me", "other"),
    ("tenant_id=ac%2Bme", "other"),
    ("tenant_id=ac%20%20me", "other"),
    ("tenant_id=acme%26tenant_id=other", "other"),
    ("tenant_id=acme%3Bother", "other"),
    ("tenant_id=acme=other", "other"),
    ("tenant_id=%2561cme", "other"),
    ("tenant_id=" + quote(COMPOSED), "other"),
    ("tenant_id=" + quote(DECOMPOSED), "other"),
    ("tenant_id=m%fcller", "other"),
    ("tenant_id=%ff%fe", "other"),
    ("tenant_id=100%", "other"),
    ("tenant_id=" + "a" * 8192, "other"),
    ("tenant_id=fresh&tenant_id=acme", "refused"),
    ("tenant_id=acme&tenant_id=acme", "refused"),
    ("tenant_id=fresh&tenant%5fid=acme", "refused"),
    ("tenant_id=fresh&Tenant_ID=acme", "refused"),
    ("tenant_id=fresh&tenant_id[]=acme", "refused"),
    ("tenant_id[]=acme", "refused"),
    ("TENANT_ID=acme", "refused"),
    ("tenant.id=acme", "refused"),
    ("tenant_id=fresh;tenant_id=acme", "refused"),
    ("tenant_id=acme;v=1", "refused"),
    ("x=1;tenant_id=acme", "refused"),
    ("tenant_id=", "refused"),
    ("tenant_id=%20", "refused"),
    ("tenant_id", "refused"),
    ("", "refused"),
]
ONE, TWO, THREE = ("gk_" + letter * 40 for letter in "abc")
CREDENTIALS: list[tuple[list[str], str]] = [
    ([f"X-Api-Key: {ONE}"], "same"),
    ([f"x-API-key:  {ONE} "], "same"),
    ([f"X-Api-Key: {TWO}"], "same"),  # another key of the same caller
    ([f"X-Api-Key: {TWO}", f"X_Api_Key: {THREE}"], "same"),
    ([f"X-Api-Key: {THREE}"], "other"),
    ([f"X-Api-Key: {ONE}", f"X-Api-Key: {ONE}"], "unknown"),
    ([f"X-Api-Key: {THREE}", f"X-Api-Key: {ONE}"], "unknown"),
    ([f"X-Api-Key: {ONE.upper()}"], "unknown"),
    ([f"X-Api-Key: {ONE}\xa0"], "unknown"),
    ([f"X_Api_Key: {ONE}"], "unknown"),
    ([], "unknown"),
]


def tokens() -> list[tuple[list[str], str]]:
    good = token()
    return [
        ([f"Authorization: Bearer {good}"], "same"),
        ([f"authorization:  bEARER   {good} "], "same"),
        ([f"Authorization: Bearer {token(jti='another')}"], "same"),
        ([f"Authorization: Bearer {token(org_id=['acme'])}"], "same"),
        ([f"Authorization: Bearer {token(org_id='Acme')}"], "other"),
        ([f"Authorization: Bearer {token(org_id='a' * 2000)}"], "other"),
        ([f"Authorization: Bearer {token(org_id=COMPOSED)}"], "other"),
        ([f"Authorization: Bearer {token(org_id=DECOMPOSED)}"], "other"),
        ([f"Authorization: Bearer {good}", f"Authorization: Bearer {good}"], "unknown"),
        ([f"Authorization: Bearer {good}="], "unknown"),
        ([f"Authorization: Bearer {good}, x"], "unknown"),
        ([], "unknown"),
    ]


def said(target: str, cases: list[tuple[list[str], str]]) -> list[Case]:
    return [(call(target, *(line.encode("latin-1") for line in lines)), outcome) for lines, outcome in cases]


def table(source: str) -> list[Case]:
    """Each request to the source's route, and its outcome. The first is how the caller spells itself."""
    match source:
        case "header":
            fields = [(call("/header/", *lines), outcome) for lines, outcome in FIELDS]
            return field("/header/", "X-Tenant-Id", VALUES) + fields
        case "api_key":
            return field("/api_key/", "X-Api-Key", VALUES)
        case "bearer":
            schemes = [
                (b"bearer acme", "same"),
                (b"BEARER   acme", "same"),
                (b"Bearer\tacme", "same"),
                (b"Basic acme", "other"),
            ]
            return field("/bearer/", "Authorization", VALUES[:-6], b"Bearer ") + field(
                "/bearer/", "Authorization", schemes
            )
        case "path":
            return [(call(target), outcome) for target, outcome in PATHS]
        case "query":
            return [(call(f"/query/?{query}"), outcome) for query, outcome in QUERIES]
        case "entry":
            return said("/entry/", CREDENTIALS)
        case "claim":
            return said("/claim/", tokens())
        case _:
            return [(call(f"/client_ip/?{n}", b"X-Forwarded-For: 6.6.6.%d" % n), "same") for n in range(4)]


@dataclass
class Asked:
    """One request, what it was answered, and the counter it was counted by."""

    request: bytes
    outcome: str
    status: int
    counter: str


@pytest.fixture
async def gateway(start: Start, upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Running:
    pem = tmp_path_factory.mktemp("issuer") / "k1.pem"
    pem.write_text(public_pem("k1"))
    limits = "".join(
        f"  {name}: {{algorithm: rolling_window, limit: {BUDGET}, window: 10m, key: [{name}]}}\n" for name in SOURCES
    )
    hashes = dict(zip(("one", "two", "three"), map(hash_text, (ONE, TWO, THREE)), strict=True))
    return await start(POLICIES % {**hashes, "issuer": ISSUER, "pem": pem, "limits": limits, "url": upstream.url})


async def ask(gateway: Running, cases: list[Case]) -> list[Asked]:
    """The requests, each on a socket of its own: some are refused as heads."""
    asked = []
    for request, outcome in cases:
        before = len(gateway.records.all)
        [status] = await statuses(gateway, [request])
        record = (await gateway.records.wait(before + 1))[-1]
        asked.append(Asked(request, outcome, status, record.charges[0].key if record.charges else ""))
    return asked


@pytest.mark.parametrize("source", SOURCES)
async def test_every_spelling_has_one_outcome(gateway: Running, source: str) -> None:
    cases = table(source)
    usual = cases[0][0]
    spent = await ask(gateway, [(usual, "other")] * BUDGET)
    assert [one.status for one in spent] == [200] * BUDGET
    found = await ask(gateway, cases)
    wrong = [one for one in found if one.outcome in OUTCOMES and one.status != OUTCOMES[one.outcome]]
    assert wrong == []
    others = [one.counter for one in found if one.outcome == "other"]
    assert len({*others, spent[0].counter}) == len(others) + 1  # every other caller has a counter of its own
    assert all(one.counter == spent[0].counter for one in found if one.outcome == "same")
    assert not any(one.counter for one in found if one.outcome in ("refused", "unknown"))
    assert max(len(one.counter) for one in found) <= 128


async def test_a_field_that_looks_like_the_one_that_counts_is_not_forwarded(
    gateway: Running, upstream: Upstream
) -> None:
    """To CGI, WSGI and the like `X_Tenant_Id` is X-Tenant-Id (RFC 3875 §4.1.18)."""
    looks = [b"X_Tenant_Id: other", b"x-tenant_id: other", b"X_Forwarded_For: 6.6.6.6", b"X_Other: stays"]
    [one] = await ask(gateway, [(call("/header/", b"X-Tenant-Id: acme", *looks), "same")])
    assert one.status == 200
    [request] = upstream.received
    names = [line.partition(b":")[0] for line in request.head.split(b"\r\n")]
    assert [name for name in names if b"_" in name] == [b"X_Other"]
    assert request.fields("X-Tenant-Id") == ["acme"]


async def test_secrets_are_in_no_counters_name(gateway: Running) -> None:
    found = await ask(gateway, [table(source)[0] for source in ("api_key", "bearer")])
    assert [one.counter.partition("{")[2][:5] for one in found] == ["=key-", "=key-"]
    assert not any("acme" in one.counter for one in found)
