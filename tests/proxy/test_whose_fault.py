"""Calls that take too long: a breaker counts what the upstream took, never what its caller did."""

import asyncio
import json
from itertools import count

import pytest

from gateway.core.classes import Counts
from tests.app.conftest import Running, Start
from tests.app.test_rate_limit_answers import parse
from tests.fakes.upstream import Received, Socket, Upstream, always
from tests.proxy.test_slow_callers import A_LOT, answer_of, narrow, until_paused, widen

POLICIES = """
version: 1
keys:
  connection: {from: header, name: X-Connection-Id, on_missing: anonymous}
breakers:
  connection: {key: [connection], slow_call: {duration: 1ms, rate: 100%%}, minimum_calls: 1, consecutive_failures: 1}
retries:
  two: {attempts: 2, backoff: {schedule: [1ms]}, on_error: [timeout], methods: [POST], non_idempotent: always}
upstreams:
  up: {url: "%(url)s", timeouts: {total: %(total)s}}
routes:
  - {name: all, match: {path_prefix: /}, upstream: up, breaker: connection}
  - {name: again, match: {path_prefix: /again/}, upstream: up, breaker: connection, retry: two}
"""
HALF = b"POST %b HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 4\r\n\r\nab"

Heard = list[tuple[Counts, float]]


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Heard:
    """What breakers are told: how calls ended, and what they took."""
    told: Heard = []
    ended = "gateway.guards.breakers.Breakers.ended"
    monkeypatch.setattr(ended, lambda _, _passage, counts, took_s: told.append((counts, took_s)))
    return told


async def begin(start: Start, upstream: Upstream, total: str) -> Running:
    return await start(POLICIES % {"url": upstream.url, "total": total})


async def never(_request: Received, _socket: Socket) -> bytes | None:
    await asyncio.Event().wait()
    return None


@pytest.mark.parametrize("path", [b"/x", b"/again/x"])
async def test_a_body_that_takes_all_the_time_is_its_callers_fault(
    start: Start, upstream: Upstream, heard: Heard, path: bytes
) -> None:
    """It is not tried again either."""
    gateway = await begin(start, upstream, "1s")
    status, _, body = parse(await gateway.raw(HALF % path))
    assert (status, json.loads(body)["code"]) == (408, "REQUEST_TIMEOUT")
    [record] = await gateway.records.wait(1)
    assert (record.error_class, record.attempts) == ("", None)
    assert [counts for counts, _ in heard] == [Counts.IGNORE]


async def test_an_upstream_that_takes_all_the_time_is_at_fault(start: Start, upstream: Upstream, heard: Heard) -> None:
    upstream.script = never
    gateway = await begin(start, upstream, "1s")
    status, _, body = parse(await gateway.raw(HALF % b"/x" + b"cd"))
    assert (status, json.loads(body)["code"]) == (504, "UPSTREAM_TIMEOUT")
    assert [counts for counts, _ in heard] == [Counts.FAILURE]


async def test_what_a_caller_takes_to_send_is_not_slow_of_the_upstream(
    start: Start, upstream: Upstream, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock that goes on ten minutes with every look at it."""
    monkeypatch.setattr("gateway.upload.monotonic", count(600, 600).__next__)
    gateway = await begin(start, upstream, "20s")
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(
        b"PUT /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    )
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"ab")
    assert parse(await reader.read())[0] == 200
    writer.close()
    await gateway.records.wait(1)
    [(counts, took_s)] = heard
    assert counts is Counts.SUCCESS
    assert took_s < 0


async def test_an_answer_that_is_not_read_in_time_is_its_callers_fault(
    start: Start, upstream: Upstream, heard: Heard
) -> None:
    """What was sent until then is less than its framing says: the caller sees that."""
    upstream.script = always(answer_of(8 * A_LOT))
    gateway = await begin(start, upstream, "1s")
    async with narrow(gateway) as (reader, writer):
        writer.write(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
        await until_paused(gateway)
        await upstream.until(lambda: upstream.open_sockets == 0)
        widen(writer)
        got = await reader.read()
    assert len(got) < 8 * A_LOT
    [record] = await gateway.records.wait(1)
    assert (record.status, record.aborted_by, record.error_class) == (200, "client", "client_closed")
    assert record.error_detail == "the caller read its answer too slowly"
    assert [counts for counts, _ in heard] == [Counts.SUCCESS]
