"""What is remembered of heads saves work and decides nothing: the same calls come out the same without it.

Callers that share almost everything (fields, lines, peers) are where a memory would confuse them with each other.
"""

import asyncio
import re
from dataclasses import dataclass
from random import Random

import pytest

from gateway.wire import request_head
from tests.app.conftest import Running, Start
from tests.fakes.upstream import Received, Upstream

CALLS = 1_000
PEERS = ("127.0.0.1", "127.0.0.2", "127.0.0.3")  # of which the last is a trusted proxy
POLICIES = """
version: 1
keys:
  tenant: {from: header, name: X-Tenant-Id, on_missing: anonymous}
  account: {from: path, name: id, on_missing: anonymous}
  connection: {from: query, name: c, on_missing: skip}
  ip: {from: client_ip}
limits:
  tenant: {algorithm: rolling_window, limit: 100000, window: 10m, key: [tenant]}
  account: {algorithm: rolling_window, limit: 100000, window: 10m, key: [account, ip]}
  connection: {algorithm: rolling_window, limit: 100000, window: 10m, key: [connection]}
upstreams:
  up: {url: "%(up)s", host: pass}
  below: {url: "%(up)s/below", host: pass}
routes:
  - name: plain
    match: {path_prefix: /plain/}
    upstream: up
    limits: [tenant]
    operations:
      - {name: read, match: {method: GET}}
      - {name: batch, match: {path: /plain/batch}, cost: {tenant: 5}}
  - {name: post, match: {path_prefix: /plain/, method: POST}, upstream: up, limits: [connection, tenant]}
  - {name: beta, match: {path_prefix: /plain/, header: {X-Beta: "on"}}, upstream: up, limits: [connection]}
  - {name: keyed, match: {path: "/k/{id}/**"}, upstream: up, limits: [account, connection]}
  - {name: host, match: {host: b.example}, upstream: up, limits: [tenant, connection]}
  - {name: item, match: {path: "/v1/items/{id}"}, upstream: up, limits: [tenant]}
  - {name: orders, match: {path_prefix: /v1/orders/}, strip_prefix: /v1, upstream: below, limits: [tenant]}
  - {name: head, match: {path_prefix: /v1/, header: {X-Beta: "on"}}, upstream: up, limits: [tenant]}
  - name: rest
    match: {path_prefix: /v1/}
    upstream: up
    limits: [tenant]
    operations:
      - {name: write, match: {method: POST}}
      - {name: search, match: {path: /v1/search/**}, cost: {tenant: 5}}
"""
TARGETS = (
    "/plain/x", "/plain/y", "/plain/batch", "/plain/%62atch", "/plain/x?c=1", "/plain/x?c=2", "/plain/x?c=1&c=2",
    "/k/one/x", "/k/two/x", "/k/one/x?c=1", "/k/one;v=1/x", "/k/%6fne/x", "/../plain/x", "/none", "http://a/plain/x",
    "/v1/items/{n}", "/v1/items/{n}/x", "/v1/items/{n}?x=%61", "/v1/orders/{n}", "/v1/orders/{n}/x", "/v1/orders/%61{n}",
    "/v1/orders/{n}/../../x", "/v1/orders", "/v1/search/{n}", "/v1/search/{n}/{n}", "/v1/search/{n};v=1", "/v1/{n}",
    "/v1/orders//{n}", "http://a/v1/orders/{n}",
)  # fmt: skip
LINES = (
    "X-Tenant-Id: one", "X-Tenant-Id: two", "x-tenant-id: two", "X-Tenant-Id: ", "X_Tenant_Id: two", "X-Beta: on",
    "X-Beta: off", "X-Forwarded-For: 203.0.113.1", "X-Forwarded-For: 203.0.113.2, 127.0.0.3", "Forwarded: for=203.0.113.3",
    "Connection: X-Other", "Connection: close", "X-Other: 1", "User-Agent: u", "Via: 1.1 gw-test", "Via: 1.1 other",
    "X-Request-Id: abc", "X-Request-Id: def", "X-Request-Id: not sane", "traceparent: nonsense", "Expect: 100-continue",
    "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "Content-Length: 0", "Content-Length: 2",
    "Transfer-Encoding: chunked", "Upgrade: x",
)  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What came of a call: the answer, what was known of it, and what the upstream was sent; without ids."""

    status: int
    known: tuple[object, ...]
    counters: tuple[str, ...]
    sent: bytes


def requests(seed: str) -> list[tuple[str, bytes]]:
    """(peer, all that it sends) of each call: few of everything, so that most of a head was there before."""
    random, found = Random(seed), []
    for _ in range(CALLS):
        lines = random.sample(LINES, random.choice((0, 0, 0, 0, 1, 1, 2, 3)))
        host = random.choice(("a", "a", "b.example", "B.example."))
        target = random.choice(TARGETS).replace("{n}", str(random.randrange(10**6)))
        line = f"{random.choice(('GET', 'POST', 'get'))} {target} HTTP/1.{random.choice('0111')}"
        body = "ok" if "Content-Length: 2" in lines else "0\r\n\r\n" if "Transfer-Encoding: chunked" in lines else ""
        call = "\r\n".join((line, f"Host: {host}", *lines, "", body)).encode()
        found.append((random.choice(PEERS), call))
    return found


async def outcomes(gateway: Running, upstream: Upstream, calls: list[tuple[str, bytes]]) -> list[Outcome]:
    """Each call on a socket of its own, one after the other."""
    found = []
    for peer, call in calls:
        upstream.received.clear()
        before = len(gateway.records.all)
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port, local_addr=(peer, 0))
        writer.write(call)
        while (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 "):
            pass
        writer.close()
        record = (await gateway.records.wait(before + 1))[-1]
        known = (
            record.method, record.target, record.route, record.operation, record.tenant, record.account,
            record.connection, record.client_ip, record.peer_ip, record.http_host, record.protocol, record.verdict,
        )  # fmt: skip
        counters = tuple(f"{charge.key} {charge.cost}" for charge in record.ask.charges)
        found.append(Outcome(record.status, known, counters, without_ids(upstream.received)))
    return found


def without_ids(received: list[Received]) -> bytes:
    heads = b"".join(request.head for request in received)
    return re.sub(rb"(?im)^(x-request-id|traceparent|host): .*\r\n", b"", heads)


@pytest.mark.parametrize("line_says", ["everywhere", "where a limit counts by it"])
async def test_the_same_calls_without_memory(
    line_says: str, start: Start, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    policies = POLICIES % {"up": upstream.url}
    if line_says != "everywhere":  # calls are asked for an account and a connection only because of the log
        policies = policies.replace("account", "folder").replace("connection", "channel")
    calls = requests(line_says)
    gateway = await start(policies, trusted_proxies=PEERS[-1:])
    remembering = await outcomes(gateway, upstream, calls)
    monkeypatch.setattr(request_head, "MEMO_BLOCK_BYTES", -1)
    forgetful = await start(policies, trusted_proxies=PEERS[-1:])
    assert await outcomes(forgetful, upstream, calls) == remembering
    assert {one.status for one in remembering} >= {200, 400, 404, 502}
    assert len({one.counters for one in remembering}) > 20
