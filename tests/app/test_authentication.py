"""Callers that must show who they are, at a running gateway, with real tokens and a real issuer."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest
from aiohttp import web
from multidict import CIMultiDict

from gateway.core.access.authentication import Denied, Identity, Jwt, hash_text
from gateway.identity.authenticator import Authenticator
from gateway.identity.jwks import RENEW_INTERVAL_S
from gateway.observe.log.events import EVENTS
from tests.app.conftest import Running, Start
from tests.fakes.issuer import ISSUER, Issuer, claims, jwk, public_pem, token
from tests.fakes.upstream import Upstream
from tests.fakes.waiting import turns

KEY = "gk_0123456789abcdefghijklmnopqrstuv"
SECRET = "0123456789abcdef0123456789abcdef"
POLICIES = """
version: 1
authentication:
  partners:
    type: api_keys
    keys:
      - {id: acme-1, hash: "%(hash)s", claims: {tenant: acme, scope: [orders.read]}}
      - {id: bare-1, hash: "%(bare)s"}
  staff: {type: jwt, issuer: "%(issuer)s", audience: orders-api, algorithms: [RS256], jwks: "%(jwks)s"}
  visible: {type: api_keys, forward_credentials: true, keys: [{hash: "%(hash)s"}]}
keys:
  tenant: {from: jwt, claim: org_id, on_missing: reject}
limits:
  tenant-10m: {algorithm: rolling_window, limit: 5, window: 10m, key: [tenant]}
upstreams:
  up: {url: "%(url)s"}
routes:
  - {name: staff, match: {path_prefix: /staff/}, upstream: up, authenticate: [staff], limits: [tenant-10m]}
  - {name: partners, match: {path_prefix: /partners/}, upstream: up, authenticate: [partners], limits: [tenant-10m]}
  - {name: both, match: {path_prefix: /both/}, upstream: up, authenticate: [partners, staff], limits: [tenant-10m]}
  - {name: scoped, match: {path_prefix: /scoped/}, upstream: up, authenticate: [partners, staff], require: {scope: orders.read}}
  - {name: visible, match: {path_prefix: /visible/}, upstream: up, authenticate: [visible]}
  - {name: open, match: {path_prefix: /open/}, upstream: up}
"""


class Clock:
    """Monotonic and wall clock that can be put forward together."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def wall(self) -> float:
        return time.time() + self.ahead

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with Issuer([jwk("k1")]) as server:
        yield server


@pytest.fixture
async def guarded(start: Start, upstream: Upstream, issuer: Issuer) -> Running:
    return await start(
        POLICIES
        % {
            "hash": hash_text(KEY),
            "bare": hash_text(KEY[::-1]),
            "issuer": ISSUER,
            "jwks": issuer.url,
            "url": upstream.url,
        }
    )


async def use_clock(running: Running) -> Clock:
    """The same gateway, its authentication on a clock of the test's."""
    clock = Clock()
    await running.gateway.authenticator.close()
    running.gateway.authenticator = Authenticator(clock.wall, clock.monotonic)
    await running.gateway.authenticator.load(running.gateway.policies)
    return clock


class Answer:
    """Status, fields, problem document."""

    def __init__(self, status: int, headers: Any, body: Any) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def challenges(self) -> list[str]:
        return list(self.headers.getall("WWW-Authenticate", []))


async def ask(running: Running, path: str, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with (
        aiohttp.ClientSession() as session,
        session.get(running.url + path, headers=named) as answer,
    ):
        problem = answer.content_type == "application/problem+json"
        return Answer(answer.status, answer.headers, await answer.json(content_type=None) if problem else None)


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


async def test_a_token_says_who_is_calling(guarded: Running, upstream: Upstream) -> None:
    answer = await ask(guarded, "/staff/x", **bearer(token()), X_Tenant_Id="globex", org_id="globex")
    assert answer.status == 200
    (record,) = await guarded.records.wait(1)
    assert (record.tenant, record.auth_scheme, record.auth_key) == ("acme", "staff", "k1")
    (received,) = upstream.received
    assert received.fields("Authorization") == []
    assert received.fields("X-Tenant-Id") == ["globex"]


async def test_what_a_request_says_about_itself_does_not_count(guarded: Running) -> None:
    """Five calls are acme's, whatever else they say; then acme has none left and globex all."""
    for number in range(5):
        spoofed = {"X-Tenant-Id": f"t{number}", "tenant": "globex", "org_id": "globex"}
        assert (await ask(guarded, f"/staff/x?tenant=t{number}", **bearer(token()), **spoofed)).status == 200
    assert (await ask(guarded, "/staff/x", **bearer(token()), X_Tenant_Id="other")).status == 429
    assert (await ask(guarded, "/both/x", X_Api_Key=KEY)).status == 429  # the same tenant by the other scheme
    assert (await ask(guarded, "/staff/x", **bearer(token(org_id="globex")))).status == 200


async def test_an_api_key_says_who_is_calling(guarded: Running, upstream: Upstream) -> None:
    assert (await ask(guarded, "/partners/x", X_Api_Key=KEY, X_Tenant_Id="globex", X_Other="kept")).status == 200
    (record,) = await guarded.records.wait(1)
    assert (record.tenant, record.auth_scheme, record.auth_key) == ("acme", "partners", "acme-1")
    assert upstream.received[0].fields("X-Api-Key") == []
    assert upstream.received[0].fields("X-Other") == ["kept"]


async def test_nothing_of_a_credential_is_forwarded_by_any_way_to_show_it(guarded: Running, upstream: Upstream) -> None:
    """The caller is known by the one, and must not have the other handed to the upstream either."""
    assert (await ask(guarded, "/both/x", X_Api_Key=KEY, **bearer("something-else"))).status == 200
    assert upstream.received[0].fields("Authorization") == []
    assert KEY.encode() not in upstream.received[0].head


async def test_credentials_that_are_not_ours_pass(guarded: Running, upstream: Upstream) -> None:
    await ask(guarded, "/open/x", X_Api_Key=KEY, Authorization="Basic dTpw")
    await ask(guarded, "/partners/x", X_Api_Key=KEY, Authorization="Basic dTpw")
    assert upstream.received[0].fields("X-Api-Key") == [KEY]
    assert [request.fields("Authorization") for request in upstream.received] == [["Basic dTpw"]] * 2


async def test_credentials_go_on_only_where_the_policy_says_so(guarded: Running, upstream: Upstream) -> None:
    assert (await ask(guarded, "/visible/x", X_Api_Key=KEY)).status == 200
    assert upstream.received[0].fields("X-Api-Key") == [KEY]
    (record,) = await guarded.records.wait(1)
    assert record.auth_key == hash_text(KEY).partition(":")[2][:8]


@pytest.mark.parametrize(
    ("path", "headers", "challenges"),
    [
        ("/staff/x", {}, ['Bearer realm="gw-test"']),
        ("/staff/x", {"Authorization": "Basic dTpw"}, ['Bearer realm="gw-test"']),
        ("/staff/x", {"X-Api-Key": KEY}, ['Bearer realm="gw-test"']),
        ("/staff/x", {"Authorization": "Bearer x"}, ['Bearer realm="gw-test", error="invalid_token"']),
        ("/partners/x", {}, ['ApiKey realm="gw-test", header="x-api-key"']),
        ("/partners/x", {"X-Api-Key": KEY + "x"}, ['ApiKey realm="gw-test", header="x-api-key"']),
        ("/both/x", {}, ['ApiKey realm="gw-test", header="x-api-key"', 'Bearer realm="gw-test"']),
    ],
)
async def test_who_is_not_known(
    guarded: Running, upstream: Upstream, path: str, headers: dict[str, str], challenges: list[str]
) -> None:
    answer = await ask(guarded, path, **headers)
    assert (answer.status, answer.body["code"], answer.challenges) == (401, "UNAUTHENTICATED", challenges)
    assert answer.headers["Cache-Control"] == "no-store"
    assert upstream.received == []
    (record,) = await guarded.records.wait(1)
    assert (record.store, record.charges, record.verdict, record.auth_scheme) == ("none", (), "unlimited", "")


async def test_who_is_refused_is_charged_nothing(guarded: Running, redis_client: Any) -> None:
    for _ in range(20):
        assert (await ask(guarded, "/staff/x", **bearer(token(exp=0)))).status == 401
    assert await redis_client.keys("*tenant-10m*") == []
    for _ in range(5):
        assert (await ask(guarded, "/staff/x", **bearer(token()))).status == 200


async def test_nothing_tells_what_was_shown(guarded: Running) -> None:
    shown = token(exp=0, org_id="very-secret")
    for path, headers in [("/staff/x", bearer(shown)), ("/partners/x", {"X-Api-Key": "gk_very-secret"})]:
        answer = await ask(guarded, path, **headers)
        assert answer.status == 401
        told = f"{answer.body} {dict(answer.headers)}"
        assert "secret" not in told
        assert shown[:20] not in told
    for record in await guarded.records.wait(2):
        kept = str({name: getattr(record, name) for name in dir(record) if not name.startswith("__")})
        assert "secret" not in kept
        assert shown[:20] not in kept
    assert [record.error_detail for record in guarded.records.all] == ["token expired", "unknown API key"]


async def test_a_field_that_stands_twice(guarded: Running) -> None:
    """The upstream might have read the other one."""
    for one, other in [(KEY, KEY), (KEY, "x"), ("x", KEY)]:
        raw = f"GET /partners/x HTTP/1.1\r\nHost: h\r\nX-Api-Key: {one}\r\nx-api-key: {other}\r\n\r\n"
        assert (await guarded.raw(raw.encode(), until=b"}")).startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"X-Api-Key": KEY}, 200),
        ({"X-Api-Key": KEY[::-1]}, 403),
        (bearer(token(scope="orders.read orders.write")), 200),
        (bearer(token(scope="orders.readonly")), 403),
        (bearer(token()), 403),
    ],
)
async def test_what_a_route_requires(guarded: Running, headers: dict[str, str], status: int) -> None:
    answer = await ask(guarded, "/scoped/x", **headers)
    assert answer.status == status
    if status == 403:
        assert answer.body["code"] == "FORBIDDEN"
        assert 'Bearer realm="gw-test", error="insufficient_scope", scope="orders.read"' in answer.challenges


async def test_credentials_that_do_not_say_the_key_part(guarded: Running, upstream: Upstream) -> None:
    for path, headers in [("/staff/x", bearer(token(org_id=None))), ("/partners/x", {"X-Api-Key": KEY[::-1]})]:
        answer = await ask(guarded, path, **headers, X_Tenant_Id="acme")
        assert (answer.status, answer.body["code"]) == (403, "FORBIDDEN")
    assert upstream.received == []


async def test_bad_tokens_are_401(guarded: Running) -> None:
    now = int(time.time())
    bad = [
        token(exp=now - 100),
        token(nbf=now + 1000),
        token(aud="others"),
        token(iss="https://other.example/"),
        token("k1", "ES256"),
        token("k2", header={"kid": "k1"}),
        jwt.encode(claims(), "", "none", {"kid": "k1"}),
        jwt.encode(claims(), public_pem("k1").replace("-----", "+++++"), "HS256", {"kid": "k1"}),
    ]
    for one in bad:
        assert (await ask(guarded, "/staff/x", **bearer(one))).status == 401, one
    assert {record.error_class for record in guarded.records.all} == {""}


async def test_a_token_that_expires_while_it_is_remembered(guarded: Running) -> None:
    clock = await use_clock(guarded)
    shown = bearer(token(exp=int(time.time()) + 600))
    for _ in range(2):
        assert (await ask(guarded, "/staff/x", **shown)).status == 200
    clock.ahead = 615  # 600 s and 30 s of leeway
    assert (await ask(guarded, "/staff/x", **shown)).status == 200
    clock.ahead = 630
    assert (await ask(guarded, "/staff/x", **shown)).status == 401


async def test_keys_that_rotate(guarded: Running, issuer: Issuer) -> None:
    """A new key is fetched when it is first seen; what a withdrawn one signed does not hold any more."""
    clock = await use_clock(guarded)
    fetches = issuer.fetches
    assert (await ask(guarded, "/staff/x", **bearer(token("k1")))).status == 200
    issuer.keys = [jwk("k2")]
    assert (await ask(guarded, "/staff/x", **bearer(token("k2")))).status == 200
    assert (await ask(guarded, "/staff/x", **bearer(token("k1")))).status == 401
    assert issuer.fetches == fetches + 1
    issuer.keys = [jwk("k3")]
    assert (await ask(guarded, "/staff/x", **bearer(token("k3")))).status == 401  # too early for another fetch
    assert issuer.fetches == fetches + 1
    clock.ahead += RENEW_INTERVAL_S
    assert (await ask(guarded, "/staff/x", **bearer(token("k3")))).status == 200
    assert issuer.fetches == fetches + 2


async def test_made_up_keys_are_no_way_to_the_issuer(guarded: Running, issuer: Issuer) -> None:
    fetches = issuer.fetches
    made_up = [token("k9", header={"kid": f"made-up-{number}"}) for number in range(30)]
    answers = await asyncio.gather(*(ask(guarded, "/staff/x", **bearer(one)) for one in made_up))
    assert {answer.status for answer in answers} == {401}
    assert issuer.fetches == fetches + 1


async def test_an_issuer_that_fails_takes_nothing_away(guarded: Running, issuer: Issuer) -> None:
    issuer.answer = web.Response(status=503)
    assert (await ask(guarded, "/staff/x", **bearer(token("k2")))).status == 401
    assert (await ask(guarded, "/staff/x", **bearer(token("k1")))).status == 200


async def test_an_issuer_that_never_answered(guarded: Running, issuer: Issuer) -> None:
    """Nobody can be known, which is not the callers' fault; API keys work all the same."""
    issuer.answer = web.Response(status=503)
    await use_clock(guarded)
    answer = await ask(guarded, "/staff/x", **bearer(token()))
    assert (answer.status, answer.body["code"]) == (503, "AUTHENTICATION_UNAVAILABLE")
    assert answer.headers["Retry-After"] == "1"
    assert (await ask(guarded, "/both/x", X_Api_Key=KEY)).status == 200
    assert (await ask(guarded, "/staff/x")).status == 401


async def test_keys_from_files_and_secrets(start: Start, upstream: Upstream, tmp_path: Path) -> None:
    (tmp_path / "public.pem").write_text(public_pem("k1"))
    (tmp_path / "secret").write_text(SECRET + "\n")
    common = f"type: jwt, issuer: '{ISSUER}', audience: orders-api"
    running = await start(f"""
authentication:
  by-file: {{{common}, algorithms: [RS256], keys: public.pem, header: X-Token}}
  by-secret: {{{common}, algorithms: [HS256], secret: "file:secret"}}
upstreams: {{up: {{url: "{upstream.url}"}}}}
routes: [{{name: r, upstream: up, authenticate: [by-file, by-secret]}}]
""")
    assert (await ask(running, "/", X_Token=token("k1"))).status == 200
    assert (await ask(running, "/", X_Token=token("k2"))).status == 401
    shared = jwt.encode(claims(), SECRET, "HS256")
    assert (await ask(running, "/", **bearer(shared))).status == 200
    assert (await ask(running, "/", X_Token=shared)).status == 401
    assert upstream.received[0].fields("X-Token") == []
    answer = await ask(running, "/", **bearer(jwt.encode(claims(), SECRET[::-1], "HS256")))
    assert answer.status == 401


async def test_a_reload_keeps_what_did_not_change(guarded: Running, issuer: Issuer) -> None:
    authenticator, policies = guarded.gateway.authenticator, guarded.gateway.policies
    fetches = issuer.fetches
    same = await authenticator.successor(policies)
    assert issuer.fetches == fetches
    await authenticator.close(shared_with=same)
    without = await same.successor(type(policies)("0", policies.routes[:0], {}, {}, {}))
    await same.close(shared_with=without)
    guarded.gateway.authenticator = await without.successor(policies)
    assert issuer.fetches == fetches + 1
    assert (await ask(guarded, "/staff/x", **bearer(token()))).status == 200


async def test_who_waits_for_keys_while_a_reload_replaces_their_scheme_gets_them(
    guarded: Running, issuer: Issuer
) -> None:
    gateway = guarded.gateway
    before, issuer.held = gateway.authenticator, asyncio.Event()
    issuer.keys.append(jwk("k2"))
    waiting = asyncio.create_task(ask(guarded, "/staff/x", **bearer(token("k2"))))
    await issuer.fetched(2)
    gateway.authenticator = await before.successor(type(gateway.policies)("0", (), {}, {}, {}))
    closing = asyncio.create_task(before.close(shared_with=gateway.authenticator))
    await turns(10)
    issuer.held.set()
    assert (await waiting).status == 200
    await closing


async def test_keys_are_left_for_workers_to_come_until_no_scheme_has_them(
    guarded: Running, issuer: Issuer, tmp_path: Path
) -> None:
    policies, folder = guarded.gateway.policies, tmp_path / "kept"
    folder.mkdir()
    staff = policies.authentication["staff"]
    assert isinstance(staff, Jwt)
    edited = replace(staff, leeway_s=1)
    other = replace(policies, authentication={**policies.authentication, "staff": edited})
    first = Authenticator()
    await first.load(policies, folder)
    (kept,) = folder.iterdir()
    issuer.answer = web.Response(status=503)
    second = await first.successor(other)
    shown = CIMultiDict(Authorization=f"Bearer {token()}")
    assert isinstance(await second.authenticate([edited], shown), Identity), "the issuer is away, its keys are known"
    given_up = await second.successor(policies)
    await given_up.close(shared_with=second)
    await first.close(shared_with=second)
    assert kept.exists()
    third = await second.successor(replace(policies, authentication={}))
    await second.close(shared_with=third)
    assert [*folder.iterdir()] == []
    await third.close()


async def test_events(guarded: Running, issuer: Issuer) -> None:
    told: list[tuple[str, dict[str, object]]] = []
    authenticator, policies = Authenticator(), guarded.gateway.policies
    authenticator.on_event = lambda name, fields: told.append((name, dict(fields)))
    await authenticator.load(policies)
    issuer.answer = web.Response(status=500)
    shown = CIMultiDict(Authorization=f"Bearer {token('k9')}")
    assert isinstance(await authenticator.authenticate([policies.authentication["staff"]], shown), Denied)
    await authenticator.close()
    assert told == [
        ("authentication.keys_loaded", {"auth_scheme": "staff", "count": 1}),
        ("authentication.keys_failed", {"auth_scheme": "staff", "reason": "answered with status 500"}),
    ]
    assert {name for name, _ in told} <= EVENTS.keys()
