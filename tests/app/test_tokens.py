"""Tokens for upstreams: had from a real server, shared, renewed, and what callers see when there is none."""

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme
from cryptography.fernet import Fernet

from gateway import policy
from gateway.listener.tls import Certificates
from gateway.modules.credentials import renewal
from gateway.reload.certificates import reload_certificates
from gateway.reload.swap import prepare, swap
from tests.app.conftest import Running, Start
from tests.fakes.oauth_server import CLIENT, FIRST_REFRESH, SECRET, Authority
from tests.fakes.tls_front import TlsFronts
from tests.fakes.waiting import eventually, turns

POLICIES = """
version: 1
keys:
  connection: {{from: header, name: X-Connection-Id, on_missing: skip}}
limits:
  calls: {{algorithm: rolling_window, limit: 500, window: 10m, key: [connection]}}
upstreams:
  up: {{url: "{url}/api", credentials: required}}
credentials:
  c1: {{upstream: up, type: oauth2, {grant}, token_url: "{url}/token", client_id: "env:ID", client_secret: "env:SECRET"}}
routes:
  - {{name: all, match: {{path_prefix: /}}, upstream: up, limits: [calls]}}
"""
CLIENT_GRANT = "grant: client_credentials, scope: [a, b], parameters: {audience: api}"
REFRESH_GRANT = "grant: refresh_token, refresh_token: 'env:REFRESH'"
WHO = {"X-Connection-Id": "c"}


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ID", CLIENT)
    monkeypatch.setenv("SECRET", SECRET)
    monkeypatch.setenv("REFRESH", FIRST_REFRESH)
    monkeypatch.setenv("GATEWAY_TOKEN_KEYS", Fernet.generate_key().decode())


def policies(authority: Authority, grant: str = CLIENT_GRANT) -> str:
    return POLICIES.format(url=authority.url, grant=grant)


async def called(gateway: Running, method: str = "GET", **more: Any) -> tuple[int, Any]:
    async with (
        aiohttp.ClientSession(headers=WHO) as caller,
        caller.request(method, f"{gateway.url}/a", **more) as answer,
    ):
        return answer.status, {**await answer.json(content_type=None), "_wait": answer.headers.get("Retry-After")}


async def test_another_authority_of_the_token_server_is_believed_when_its_file_is_read_again(
    start: Start, authority: Authority, tmp_path: Path
) -> None:
    ca, file = trustme.CA(), tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(file)
    async with TlsFronts(ca) as fronts:
        port = await fronts.open(int(authority.url.rpartition(":")[2]))
        text = policies(authority, f"{CLIENT_GRANT}, ca_file: {file}")
        gateway = await start(text.replace(authority.token_url, f"https://127.0.0.1:{port}/token"))
        ca.cert_pem.write_to_path(file)
        reload_certificates(Certificates(), [gateway.gateway.supply])
        assert (await called(gateway))[0] == 200


async def at_once(gateway: Running, count: int) -> list[int]:
    return [status for status, _ in await asyncio.gather(*[called(gateway) for _ in range(count)])]


def later(gateway: Running, seconds: float) -> None:
    """Time passes for a gateway, not for the store."""
    clock = gateway.gateway.clock
    gateway.gateway.clock = gateway.gateway.supply.around.clock = lambda: clock() + seconds


@pytest.mark.parametrize("grant", [CLIENT_GRANT, REFRESH_GRANT])
async def test_one_token_serves_all_calls_of_all_gateways(start: Start, authority: Authority, grant: str) -> None:
    first, second = await start(policies(authority, grant)), await start(policies(authority, grant))
    statuses = await asyncio.gather(at_once(first, 10), at_once(second, 10))
    assert statuses == [[200] * 10] * 2
    seen = authority.seen
    assert (seen["requests"], {one["fields"] for one in seen["api"]}) == (1, {1})
    want = {"grant_type": "client_credentials", "scope": "a b", "audience": "api"}
    assert seen["forms"] == [
        want if grant is CLIENT_GRANT else {"grant_type": "refresh_token", "refresh_token": FIRST_REFRESH}
    ]


async def test_a_token_is_renewed_beside_the_calls_before_it_expires(start: Start, authority: Authority) -> None:
    gateway = await start(policies(authority))
    assert await at_once(gateway, 3) == [200] * 3
    later(gateway, 3600 * 0.85)
    authority.control(mode="hold")
    status, _ = await called(gateway)
    assert (status, authority.seen["issued"]) == (200, 1)  # did not wait for it
    authority.control(mode="ok")
    one = gateway.gateway.supply.of(gateway.gateway.policies.credentials["c1"])
    assert one is not None
    await asyncio.wait((one._fly(),))
    assert (await at_once(gateway, 3), authority.seen["issued"]) == ([200] * 3, 2)


async def test_a_call_that_waits_while_its_credentials_are_replaced_goes_on_with_them(
    start: Start, authority: Authority, tmp_path: Path
) -> None:
    gateway = await start(policies(authority))
    authority.control(mode="hold")
    waiting = asyncio.create_task(called(gateway))
    await eventually(lambda: authority.seen["requests"] == 1)
    file = tmp_path / "new.yaml"
    file.write_text(policies(authority, CLIENT_GRANT.replace("[a, b]", "[a]")))
    close_before = swap(gateway.gateway, await prepare(gateway.gateway, gateway.gateway.settings, policy.load([file])))
    closing = asyncio.create_task(close_before())
    await turns(10)
    authority.control(mode="ok")
    assert ((await waiting)[0], (await called(gateway))[0]) == (200, 200)
    await closing
    assert [form["scope"] for form in authority.seen["forms"]] == ["a b", "a"]


@pytest.mark.parametrize("grant", [CLIENT_GRANT, REFRESH_GRANT])
async def test_a_hundred_calls_that_find_it_expired_have_one_fetched(
    start: Start, authority: Authority, grant: str
) -> None:
    authority.control(rotate=True)
    pair = [await start(policies(authority, grant)) for _ in range(2)]
    for gateway in pair:
        assert (await called(gateway))[0] == 200
        later(gateway, 3600)
    statuses = await asyncio.gather(*[at_once(gateway, 50) for gateway in pair])
    assert statuses == [[200] * 50] * 2
    seen = authority.seen
    assert (seen["requests"], seen["issued"], seen["reused"]) == (2, 2, 0)


async def test_rotated_refresh_tokens_are_handed_on(start: Start, authority: Authority) -> None:
    authority.control(rotate=True)
    first, second = await start(policies(authority, REFRESH_GRANT)), await start(policies(authority, REFRESH_GRANT))
    for gateway in (first, second, first, second, second, first):
        assert (await called(gateway))[0] == 200
        later(gateway, 3600)
        assert (await called(gateway))[0] == 200
    third = await start(policies(authority, REFRESH_GRANT))
    assert (await called(third))[0] == 200
    later(third, 3600)
    assert (await called(third))[0] == 200
    seen = authority.seen
    assert (seen["reused"], seen["at_once"]) == (0, 1)
    used = [form["refresh_token"] for form in seen["forms"]]
    assert 4 <= len(used) == len(set(used))


async def test_a_401_is_answered_with_another_token_once(start: Start, authority: Authority) -> None:
    gateway = await start(policies(authority))
    assert await at_once(gateway, 1) == [200]
    later(gateway, renewal.LEAST_AGE_S)
    authority.control(revoke=True)
    assert set(await at_once(gateway, 8)) == {200}
    assert authority.seen["issued"] == 2
    authority.control(revoke=True)
    later(gateway, 2 * renewal.LEAST_AGE_S)
    assert (await called(gateway, "PUT", data=b"x" * 100_000))[0] == 200
    bodies = [one["body"] for one in authority.seen["api"][-2:]]
    assert bodies == [100_000] * 2
    records = await gateway.records.wait(10)
    assert [{"status", "token_renewed"} <= one.keys() for one in records[-1].attempts or []] == [True, False]


async def test_a_401_is_passed_on_where_there_is_no_place_for_the_call_with_another_token(
    start: Start, authority: Authority
) -> None:
    """While it waits for the token, somebody else takes the only socket."""
    gateway = await start(
        policies(authority).replace("credentials: required}", "credentials: required, max_sockets: 1}")
    )
    assert await at_once(gateway, 1) == [200]
    later(gateway, renewal.LEAST_AGE_S)
    authority.control(revoke=True, mode="hold")
    calling = asyncio.create_task(called(gateway))
    await eventually(lambda: authority.seen["requests"] == 2, "the token to be asked for")
    pool = gateway.gateway.upstreams.pools()["up"]
    theirs = pool.take() or await pool.open()
    authority.control(mode="ok")
    assert (await calling)[0] == 401
    theirs.abort()


async def test_what_must_not_be_sent_twice_is_not_but_the_next_call_has_a_token(
    start: Start, authority: Authority
) -> None:
    gateway = await start(policies(authority))
    assert await at_once(gateway, 1) == [200]
    later(gateway, renewal.LEAST_AGE_S)
    authority.control(revoke=True)
    status, _ = await called(gateway, "POST", data=b"x")
    assert status == 401
    status, _ = await called(gateway, "POST", data=b"x")
    assert status in (200, 401)  # the renewal may still be under way
    assert (await called(gateway))[0] == 200
    assert authority.seen["issued"] == 2
    authority.control(revoke=True)
    later(gateway, 4 * renewal.LEAST_AGE_S)
    assert (await called(gateway, "POST", data=b"x", headers={"Idempotency-Key": "1"}))[0] == 200


@pytest.mark.parametrize("off_s", [-400 * 86_400, 400 * 86_400])
async def test_clocks_that_are_wrong_cost_no_token(start: Start, authority: Authority, off_s: float) -> None:
    """How long a token lives is counted, never when it ends; what the server itself thinks is told by its 401."""
    gateway = await start(policies(authority))
    wall = gateway.gateway.wall_clock
    gateway.gateway.wall_clock = lambda: wall() + off_s
    assert await at_once(gateway, 3) == [200] * 3
    later(gateway, 3600 * 0.6)
    assert (await at_once(gateway, 3), authority.seen["issued"]) == ([200] * 3, 1)
    authority.control(revoke=True)  # its clock is ahead: for it the token has expired
    assert (await called(gateway), authority.seen["issued"]) == ((200, {"good": True, "_wait": None}), 2)


async def test_an_upstream_that_always_says_401_is_no_flood_of_requests(start: Start, authority: Authority) -> None:
    authority.control(api="always_401")
    gateway = await start(policies(authority))
    assert set(await at_once(gateway, 10)) == {401}
    assert authority.seen["requests"] == 1
    for wait_s, requests in ((renewal.LEAST_AGE_S, 2), (renewal.LEAST_AGE_S, 2), (renewal.LEAST_AGE_S, 3)):
        later(gateway, wait_s)
        assert set(await at_once(gateway, 10)) == {401}
        assert authority.seen["requests"] == requests


@pytest.mark.parametrize(
    ("told", "status", "code", "reason"),
    [
        ({"mode": "down"}, 503, "CREDENTIALS_UNAVAILABLE", "answered with status 500"),
        ({"mode": "garbage"}, 503, "CREDENTIALS_UNAVAILABLE", "answered with status 200 and no JSON object"),
        ({"mode": "huge"}, 503, "CREDENTIALS_UNAVAILABLE", "answer larger than 64 KiB"),
        ({"mode": "redirect"}, 503, "CREDENTIALS_UNAVAILABLE", "answered with status 307 and no JSON object"),
        (
            {"mode": "odd", "answer": {"access_token": "a\nb"}},
            503,
            "CREDENTIALS_UNAVAILABLE",
            "the answer has no usable access_token",
        ),
        ({"mode": "refuse"}, 502, "CREDENTIALS_REFUSED", "invalid_client"),
    ],
)
async def test_no_token_is_an_honest_answer_that_costs_nothing(
    start: Start,
    authority: Authority,
    redis_client: Any,
    monkeypatch: pytest.MonkeyPatch,
    told: dict[str, Any],
    status: int,
    code: str,
    reason: str,
) -> None:
    monkeypatch.setattr("gateway.core.access.tokens.FIRST_WAIT_US", 60_000_000)
    authority.control(**told)
    first, second = await start(policies(authority)), await start(policies(authority))
    answers = [
        answer for gateway in (first, second) for answer in await asyncio.gather(*[called(gateway) for _ in range(5)])
    ]
    assert {(got, body["code"]) for got, body in answers} == {(status, code)}
    assert {1 <= int(body["_wait"]) <= 80 for _, body in answers} == {True}
    assert authority.seen["requests"] == 1  # nobody asks again before the time, on no gateway
    record = (await first.records.wait(5))[0]
    assert (record.error_detail, record.decision, record.upstream_addr) == (f"credentials c1: {reason}", None, "")
    assert "s3cr3t" not in json.dumps(answers) + json.dumps(vars(record), default=str)
    authority.control(mode="ok")
    later(first, 100)
    await redis_client.delete(*await redis_client.keys("*token:*lease"))
    assert (await called(first))[0] == 200


async def test_a_token_that_has_expired_when_it_comes_is_a_failure_of_its_server(
    start: Start, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.core.access.tokens.FIRST_WAIT_US", 60_000_000)
    first, second = await start(policies(authority)), await start(policies(authority))
    authority.control(mode="hold")
    waiting = asyncio.create_task(called(first))
    await eventually(lambda: authority.seen["requests"] == 1, "the server of tokens to be asked")
    later(first, 3600)
    authority.control(mode="ok")
    answers = [await waiting, await called(first), await called(second)]
    assert {(status, answer["code"]) for status, answer in answers} == {(503, "CREDENTIALS_UNAVAILABLE")}
    assert authority.seen["requests"] == 1  # no request for every call
    record = (await first.records.wait(2))[0]
    assert record.error_detail == "credentials c1: the token had expired when it came"
