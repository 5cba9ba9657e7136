"""Upstreams that say impossible things about waits, counts and costs: callers get their answers, and nothing grows."""

import asyncio
from typing import Any

import pytest

from gateway.core.ask import Ask
from gateway.core.guards import State
from gateway.core.limits import Charge
from tests.app.breaking import call, told
from tests.app.conftest import Running, Start
from tests.fakes.upstream import OK, Received, Socket, Upstream, always

POLICIES = """
version: 1
keys:
  connection: {from: header, name: X-Connection-Id, on_missing: skip}
limits:
  tokens: {algorithm: rolling_window, limit: 1000, window: 1h, precision: 60, key: [connection]}
  bucket: {algorithm: token_bucket, rate: 1000, per: 1h, key: [connection]}
  rows: {algorithm: fixed_window, limit: 1000, window: month, timezone: Europe/Berlin, key: [connection]}
breakers:
  connection: {key: [connection], consecutive_failures: 50, failure_rate: 90%%, slow_call: {duration: 1s, rate: 90%%}}
retries:
  standard: {attempts: 3, backoff: {schedule: [1ms]}, max_wait: 1ms, budget: none}
upstreams:
  up:
    url: "%s"
    learn_limits: {from: [Retry-After, RateLimit, X-RateLimit-Reset], scope: connection, max: 1m, as_limit: true}
routes:
  - name: all
    match: {path_prefix: /}
    upstream: up
    limits: [tokens, bucket, rows]
    breaker: connection
    retry: standard
    cost:
      tokens: {from: response_json, pointer: /usage/total, reserve: 10}
      bucket: {from: response_header, name: X-Cost, reserve: 10}
      rows: {from: response_json, pointer: /usage/total, reserve: 10}
"""
ABSURD = [
    *("-1", "0", "1e30", "NaN", "Infinity", "9" * 15, "9" * 400, "9" * 900, "0x10", "1_000", "\u0661", "+5", "5;w=1"),
    *("Fri, 31 Dec 9999 23:59:59 GMT", "Mon, 01 Jan 0001 00:00:00 GMT", "9999-12-31T23:59:59Z", "2026-13-45T99:99:99"),
    *(
        "-1 second",
        "",
        ",",
        '"',
        '"a";r=',
        '"a";r=1;t=-5',
        '"a";r=99999999999999999999;t=1',
        "limit=,remaining=,reset=",
    ),
    *(
        ";" * 1000,
        '"' * 999,
        ",".join(['"a";r=0;t=1'] * 80),
        "\\" * 500,
        "remaining=0, reset=1e9",
        "12.999999999999999999",
    ),
]
FIELDS = ("Retry-After", "RateLimit", "RateLimit-Remaining", "RateLimit-Reset", "X-RateLimit-Remaining")
MORE = ("X-RateLimit-Reset", "X-Rate-Limit-Reset", "X-RateLimit-Reset-After", "RateLimit-Policy", "X-Cost")
COSTS = ["-5", "1e30", "1E400", "9" * 400, "NaN", "Infinity", '"7"', "{}", "[" * 900, "true", "null", "0.5", "9" * 15]


def said(value: str, status: int) -> bytes:
    """An answer in which every field that means something says this."""
    fields = b"".join(b"%b: %b\r\n" % (name.encode(), value.encode("utf-8")) for name in (*FIELDS, *MORE))
    return b"HTTP/1.1 %d Said\r\n%bContent-Length: 2\r\n\r\n{}" % (status, fields)


def costing(cost: str, kind: bytes = b"application/json") -> bytes:
    body = b'{"usage": {"total": %b}}' % cost.encode()
    if kind == b"text/event-stream":
        body = b"data: " + body + b"\n\n"
    return b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b" % (kind, len(body), body)


async def left(gateway: Running, connection: str) -> dict[str, int]:
    """What the limits have left for a caller."""
    keys = [Charge(limit, f"{name}:{{={connection}}}", 1) for name, limit in gateway.gateway.policies.limits.items()]
    verdicts = (await gateway.gateway.store.peek(Ask(keys))).verdicts
    return {charge.limit.name: verdict.remaining for charge, verdict in zip(keys, verdicts, strict=True)}


@pytest.mark.parametrize("status", [200, 429, 503])
async def test_absurd_waits_and_counts_are_bounded(start: Start, upstream: Upstream, status: int) -> None:
    gateway = await start(POLICIES % upstream.url)
    for number, value in enumerate(ABSURD):
        upstream.script = always(said(value, status))
        answer, fields, _ = await call(gateway, f"c{number}")
        assert answer == status, value
        assert "RateLimit-Policy" in fields
    held = [guard for record in gateway.records.all for guard in record.ask.guards[:1]]
    now_us, kept = await gateway.gateway.store.guards(held)
    for one in kept:
        assert max(one.until_us, one.renews_us) <= now_us + 60_000_000
    upstream.script = always(OK)
    assert (await call(gateway, "another"))[0] == 200
    assert gateway.gateway.in_flight == 0


@pytest.mark.parametrize("kind", [b"application/json", b"text/event-stream"])
async def test_absurd_costs_are_bounded(start: Start, upstream: Upstream, kind: bytes) -> None:
    """What is no cost leaves what was reserved; what is too much is owed once, not for ever."""
    gateway = await start(POLICIES % upstream.url)
    for number, cost in enumerate(COSTS):
        upstream.script = always(costing(cost, kind))
        assert (await call(gateway, f"c{number}"))[0] == 200, cost
        known = {"0.5": 1, "9" * 15: 2000}.get(cost, 10)
        tokens = (await left(gateway, f"c{number}"))["tokens"]
        assert tokens == max(0, 1000 - known), cost
    assert gateway.gateway.in_flight == 0
    _, fields, _ = await call(gateway, f"c{len(COSTS) - 1}")
    assert int(fields["Retry-After"]) <= 31 * 86_400 * 2


async def test_a_cost_beyond_everything_shuts_nobody_out_for_more_than_two_windows(
    start: Start, upstream: Upstream
) -> None:
    text = (POLICIES % upstream.url).replace("limits: [tokens, bucket, rows]", "limits: [tokens, bucket]")
    gateway = await start(text.replace("      rows: {from: response_json, pointer: /usage/total, reserve: 10}\n", ""))
    body = b'{"usage": {"total": %b}}' % (b"9" * 15)
    dear = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Cost: %b\r\nContent-Length: %d\r\n\r\n%b"
    upstream.script = always(dear % (b"9" * 15, len(body), body))
    assert (await call(gateway))[0] == 200
    status, fields, _ = await call(gateway)
    assert status == 429
    assert 3600 < int(fields["Retry-After"]) <= 2 * 3600


async def test_a_stream_that_never_ends_costs_what_was_reserved_when_its_caller_leaves(
    start: Start, upstream: Upstream
) -> None:
    gateway = await start(POLICIES % upstream.url)

    async def drip(_request: Received, socket: Socket) -> Any:
        await socket.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            await socket.send(b"10000\r\n%b\r\n" % (b'data: {"usage": {"total": 3}}\n\n' * 2115)[:65536])

    upstream.script = drip
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(b"GET /x HTTP/1.1\r\nHost: a\r\nX-Connection-Id: c1\r\n\r\n")
    got = 0
    while got < 4_000_000:
        got += len(await reader.read(65536))
    writer.transport.abort()
    (record,) = await gateway.records.wait(1)
    await told(gateway)
    assert (record.aborted_by, gateway.gateway.in_flight) == ("client", 0)
    assert (await left(gateway, "c1"))["tokens"] == 990


async def test_a_flood_of_fields_is_refused_and_says_nothing(start: Start, upstream: Upstream) -> None:
    gateway = await start(POLICIES % upstream.url)
    upstream.script = always(
        OK.replace(b"\r\n\r\n", b"\r\n" + b"RateLimit-Remaining: 0\r\nRateLimit-Reset: 50\r\n" * 20_000 + b"\r\n")
    )
    for _ in range(3):
        assert (await call(gateway))[0] == 502
    (pause, circuit) = (await gateway.gateway.store.guards(gateway.records.all[-1].ask.guards))[1]
    assert (pause.until_us, pause.left, circuit.state) == (0, 0, State.CLOSED)


async def test_many_fields_inside_the_bounds_are_read_once(start: Start, upstream: Upstream) -> None:
    gateway = await start(POLICIES % upstream.url)
    upstream.script = always(OK.replace(b"\r\n\r\n", b"\r\n" + b'RateLimit: "a";r=5;t=50\r\n' * 60 + b"\r\n"))
    assert (await call(gateway))[0] == 200
    (pause, _) = (await gateway.gateway.store.guards(gateway.records.all[-1].ask.guards))[1]
    assert pause.left == 5
