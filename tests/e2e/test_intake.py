"""Webhooks of others through a whole gateway: checked, kept once, delivered in order; what is not kept is not acknowledged."""

import asyncio
import hmac
import json
import time
from base64 import b64encode
from collections.abc import Mapping

import aiohttp
import pytest

from gateway.core.webhooks.signatures import signed
from tests.e2e.conftest import Launch, Process
from tests.fakes.provider import ECHO, SECRET, signed_fields
from tests.fakes.receiver import Receiver
from tests.fakes.redis_server import RedisServer
from tests.fakes.waiting import eventually

OURS = b"another one of 24 bytes .."
ENV = {
    "CRM": SECRET,
    "SYNC": "whsec_" + b64encode(OURS).decode(),
    "GIT": "a-shared-secret",
    "PSA": "ann:her-password",
}
SOURCES = """
intake:
  sources:
    crm:
      verify: standard
      secrets: [env:CRM]
      order_by: /key
      place: /n
      body: 1KiB
      to:
        sync: {url: "%(url)s", secrets: [env:SYNC]}
    git: {verify: hmac, secrets: [env:GIT], signature_header: X-Sig, id_header: X-Id, most_waiting: 2, to: {deaf: {url: "http://127.0.0.1:1/"}}}
    slow: {verify: basic, secrets: [env:PSA], time: 200ms, to: {sync: {url: "%(url)s"}}}
    psa: {verify: basic, secrets: [env:PSA], rate: {limit: 2, window: 1h}, to: {sync: {url: "%(url)s"}}}
"""
Answer = tuple[int, dict[str, object]]


@pytest.fixture
async def gateway(launch: Launch, receiver: Receiver) -> Process:
    return await launch(ECHO, "--workers", "2", env=ENV, more=SOURCES % {"url": receiver.url})


async def post(gateway: Process, path: str, body: bytes, fields: Mapping[str, str], method: str = "POST") -> Answer:
    """On a socket of its own, so that any worker may get it."""
    async with (
        aiohttp.ClientSession(headers={"Connection": "close"}) as session,
        session.request(method, gateway.url + path, data=body, headers=fields) as answer,
    ):
        return answer.status, await answer.json(content_type=None)


async def crm(gateway: Process, id_: str, key: str = "", n: int = 0, **more: float) -> Answer:
    body = json.dumps({"key": key, "n": n}).encode()
    return await post(gateway, "/hooks/crm", body, signed_fields(id_, body, **more))


async def test_kept_once_and_delivered_signed(gateway: Process, receiver: Receiver) -> None:
    body = b'{"key": "a"}'
    fields = {
        **signed_fields("m1", body),
        "X-Event": "created",
        "X-City": "東京",
        "Cookie": "secret",
        "Content-Type": "application/json",
    }
    assert await post(gateway, "/hooks/crm?x=1", body, fields) == (200, {"result": "accepted"})
    assert await post(gateway, "/hooks/crm", body, fields) == (200, {"result": "duplicate"})
    assert await crm(gateway, "m2", "a") == (200, {"result": "accepted"})
    await receiver.wait(2)
    first, second = receiver.got
    assert (first.id, first.body, second.id) == ("m1", body, "m2")
    got = first.headers
    assert signed([OURS], "m1", got["webhook-timestamp"], body, got["webhook-signature"])
    assert (got["x-event"], got["content-type"]) == ("created", "application/json")
    assert (got["gateway-webhook-source"], got["gateway-webhook-attempt"]) == ("crm", "1")
    assert got["x-city"] == "東京"
    assert "Cookie" not in got
    assert "gateway-webhook-marks" not in got


async def test_in_order_and_marked(gateway: Process, receiver: Receiver) -> None:
    numbers = [1, 2, 5, 3, 6]
    for n in numbers:
        assert (await crm(gateway, f"m{n}", "k", n))[0] == 200
    assert (await crm(gateway, "late", "k", 7, at_s=time.time() - 100))[0] == 200
    await receiver.wait(6)
    assert [got.id for got in receiver.got] == [*(f"m{n}" for n in numbers), "late"]
    marks = {got.id: got.headers.get("gateway-webhook-marks") for got in receiver.got}
    assert marks == {"m1": None, "m2": None, "m5": None, "m3": "out-of-order", "m6": None, "late": "late"}


async def test_what_is_not_taken(gateway: Process, receiver: Receiver) -> None:
    body = b"{}"
    forged = {**signed_fields("m1", body), "webhook-signature": "v1,AAAA"}
    old = signed_fields("m1", body, time.time() - 400)
    large = b'{"key":"' + b"x" * 2000 + b'"}'
    refused = {
        "forged": await post(gateway, "/hooks/crm", body, forged),
        "unsigned": await post(gateway, "/hooks/crm", body, {}),
        "old": await post(gateway, "/hooks/crm", body, old),
        "large": await post(gateway, "/hooks/crm", large, signed_fields("m1", large)),
        "no json": await post(gateway, "/hooks/crm", b"{", signed_fields("m1", b"{")),
        "get": await post(gateway, "/hooks/crm", b"", {}, "GET"),
        "nobody": await post(gateway, "/hooks/nobody", body, {}),
        "beside": await post(gateway, "/hooks/", body, {}),
    }
    statuses = {name: status for name, (status, _) in refused.items()}
    assert statuses == {
        "forged": 401,
        "unsigned": 401,
        "old": 401,
        "large": 413,
        "no json": 400,
        "get": 405,
        "nobody": 404,
        "beside": 404,
    }
    assert all("code" in problem for _, problem in refused.values())
    assert (await post(gateway, "/hooksome", b"", {}))[0] == 200, "a call like any other"
    assert receiver.got == []
    await gateway.stop()
    lines = [line for line in gateway.calls() if line.get("route") == "intake:crm"]
    assert sorted(line["status"] for line in lines) == [400, 401, 401, 401, 405, 413]


async def test_other_ways_to_sign_limits_and_a_service_that_is_away(gateway: Process, receiver: Receiver) -> None:
    def git(id_: str) -> dict[str, str]:
        return {"X-Sig": hmac.digest(ENV["GIT"].encode(), b"{}", "sha256").hex(), "X-Id": id_}

    answers = [await post(gateway, "/hooks/git", b"{}", git(id_)) for id_ in ("1", "2", "1", "3")]
    assert [status for status, _ in answers] == [200, 200, 200, 503]
    assert (answers[2][1], answers[3][1]["code"]) == ({"result": "duplicate"}, "INTAKE_FULL")
    basic = {"Authorization": "Basic " + b64encode(ENV["PSA"].encode()).decode()}
    forged = [await post(gateway, "/hooks/psa", b"0", {"Authorization": "Basic bm86bm8="}) for _ in range(3)]
    assert [status for status, _ in forged] == [401, 401, 401], "and they use up nothing"
    many = [await post(gateway, "/hooks/psa", str(n).encode(), basic) for n in range(3)]
    assert [status for status, _ in many] == [200, 200, 429]
    await receiver.wait(2)
    assert sorted(got.body for got in receiver.got) == [b"0", b"1"]
    assert all("Authorization" not in got.headers for got in receiver.got)


async def test_what_is_not_in_the_store_is_not_acknowledged(
    launch: Launch, receiver: Receiver, own_redis_server: RedisServer
) -> None:
    gateway = await launch(ECHO, env=ENV, more=SOURCES % {"url": receiver.url}, store=own_redis_server.url)
    assert (await crm(gateway, "m1"))[0] == 200
    await receiver.wait(1)
    own_redis_server.kill()
    status, problem = await crm(gateway, "m2")
    assert (status, problem["code"]) == (503, "INTAKE_UNAVAILABLE")
    own_redis_server.start()

    async def taken() -> bool:
        return (await crm(gateway, "m2"))[0] == 200

    await eventually(taken)
    await receiver.wait(2)
    assert receiver.got[1].id == "m2"


async def test_rude_providers(gateway: Process, receiver: Receiver) -> None:
    async def say(head: str, *pieces: bytes, body: bytes = b"{}", patient: bool = True, source: str = "crm") -> bytes:
        """A request in pieces; what comes back."""
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        fields = "".join(
            f"{name}: {text}\r\n" for name, text in signed_fields(f"m{len(pieces)}{head}"[:9], body).items()
        )
        writer.write(f"POST /hooks/{source} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{head}{fields}\r\n".encode())
        got = b""
        for piece in pieces:
            if "Expect" in head and not got:
                got = await reader.readuntil(b"\r\n\r\n")
            writer.write(piece)
            await writer.drain()
        if patient:
            got += await reader.read()
        writer.close()
        return got

    assert b" 200 OK" in await say("Content-Length: 2\r\n", b"{", b"}")
    assert b" 200 OK" in await say("Transfer-Encoding: chunked\r\n", b"1\r\n{\r\n", b"1\r\n}\r\n0\r\n\r\n")
    expecting = await say("Expect: 100-continue\r\nContent-Length: 2\r\n", b"{}")
    assert expecting.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")
    assert b" 408 " in await say("Content-Length: 2\r\n", b"{", source="slow")
    assert b" 413 " in await say("Content-Length: 99999999\r\n", b"{" * 2000)
    await say("Content-Length: 20\r\n", b"{", patient=False)
    odd = b'{"key": "\\ud800"}'
    assert (await post(gateway, "/hooks/crm", odd, signed_fields("odd", odd)))[0] == 200
    await receiver.wait(4)
    assert receiver.got[3].body == odd
