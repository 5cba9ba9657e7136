"""What an upstream says is left is a limit for the whole fleet, where the policy says so."""

import asyncio
import json
from dataclasses import dataclass

import pytest

from tests.app.breaking import call, told
from tests.app.conftest import Running, Start
from tests.app.test_rate_limit_answers import parse
from tests.fakes.upstream import OK, Received, Socket, Upstream

POLICIES = """
version: 1
keys:
  connection: {from: header, name: X-Connection-Id, on_missing: skip}
limits:
  connection-1m: {algorithm: rolling_window, limit: 500, window: 1m, key: [connection]}
breakers:
  connection: {key: [connection], consecutive_failures: 3}
upstreams:
  up: {url: "%s", learn_limits: {from: [RateLimit, X-RateLimit-Reset], scope: connection, as_limit: %s, also_from: [{remaining: X-Left, reset: X-Until}]}}
routes:
  - {name: all, match: {path_prefix: /}, upstream: up, limits: [connection-1m], breaker: connection}
"""


@dataclass
class Metered:
    """An upstream that lets so many calls through, says how many are left, and answers 429 to all others."""

    left: int
    reset: int = 600
    refused: int = 0
    say: bytes = b"X-RateLimit-Remaining: %d\r\nX-RateLimit-Reset: %d\r\n"

    async def __call__(self, _request: Received, _socket: Socket) -> bytes:
        if not self.left:
            self.refused += 1
            return b"HTTP/1.1 429 Later\r\nContent-Length: 0\r\n" + self.say % (0, self.reset) + b"\r\n"
        self.left -= 1
        return OK.replace(b"\r\n\r\n", b"\r\n" + self.say % (self.left, self.reset) + b"\r\n")


async def fleet(start: Start, upstream: Upstream, *, as_limit: str = "true") -> list[Running]:
    return [await start(POLICIES % (upstream.url, as_limit)) for _ in range(2)]


@pytest.mark.parametrize(
    "say",
    [
        b"X-RateLimit-Remaining: %d\r\nX-RateLimit-Reset: %d\r\n",
        b'RateLimit: "day";r=%d;t=%d\r\n',
        b"RateLimit-Remaining: %d\r\nRateLimit-Reset: %d\r\n",
        b"X-Left: %d\r\nX-Until: %ds\r\n",
    ],
)
async def test_no_more_calls_are_sent_than_it_says(start: Start, upstream: Upstream, say: bytes) -> None:
    one, other = await fleet(start, upstream)
    upstream.script = meter = Metered(10, say=say)
    assert (await call(one))[0] == 200
    answers = await asyncio.gather(*(call(gateway) for gateway in (one, other) * 15))
    assert sorted(status for status, _, _ in answers) == [200] * 9 + [429] * 21
    assert (len(upstream.received), meter.refused) == (10, 0)
    for status, fields, body in answers:
        if status == 429:
            assert json.loads(body)["code"] == "UPSTREAM_RATE_LIMITED"
            assert 570 <= int(fields["Retry-After"]) <= 660
    record = one.records.all[-1]
    assert (record.response_source, record.verdict, record.breaker_state) in [
        ("pause", "held", ""),
        ("upstream", "allowed", "closed"),
    ]


async def test_other_connections_and_calls_without_one_are_not_counted(start: Start, upstream: Upstream) -> None:
    (one, _) = await fleet(start, upstream)
    upstream.script = Metered(2)
    assert [(await call(one))[0] for _ in range(3)] == [200, 200, 429]
    upstream.script = Metered(100)
    assert (await call(one, "c2"))[0] == 200
    nobody = await one.raw(b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert parse(nobody)[0] == 200


async def test_when_others_use_it_up_too_the_lower_number_holds(start: Start, upstream: Upstream) -> None:
    one, other = await fleet(start, upstream)
    upstream.script = meter = Metered(100)
    await call(one)
    meter.left = 3  # somebody else's calls
    await call(other)
    assert [(await call(gateway))[0] for gateway in (one, other, one)] == [200, 200, 429]
    assert meter.refused == 0


async def test_the_store_is_told_once_and_then_counts_for_itself(start: Start, upstream: Upstream) -> None:
    (one, _) = await fleet(start, upstream)
    upstream.script = Metered(50)
    begun: list[int] = []
    begin = one.gateway.pauses.begin
    one.gateway.pauses.begin = lambda guard, heed, keeper: (begun.append(heed.left), begin(guard, heed, keeper))[1]
    for _ in range(10):
        await call(one)
    assert begun == [49]


async def test_a_call_that_a_limit_refuses_takes_nothing_of_it(start: Start, upstream: Upstream) -> None:
    text = (POLICIES % (upstream.url, "true")).replace("limit: 500", "limit: 1")
    gateway = await start(text)
    upstream.script = Metered(50)
    await call(gateway)
    for _ in range(5):
        assert json.loads((await call(gateway))[2])["code"] == "RATE_LIMIT_EXCEEDED"
    (pause,) = (await gateway.gateway.store.guards(gateway.records.all[-1].ask.guards[:1]))[1]
    assert pause.left == 49


async def test_it_holds_in_this_worker_while_the_store_is_down(start: Start, upstream: Upstream) -> None:
    (one, _) = await fleet(start, upstream)
    await one.gateway.store.close()
    upstream.script = meter = Metered(4)
    assert [(await call(one))[0] for _ in range(6)] == [200] * 4 + [429] * 2
    assert meter.refused == 0


async def test_without_as_limit_what_is_left_is_only_passed_on(start: Start, upstream: Upstream) -> None:
    (one, _) = await fleet(start, upstream, as_limit="false")
    upstream.script = meter = Metered(2)
    answers = [await call(one) for _ in range(4)]
    assert [status for status, _, _ in answers] == [200, 200, 429, 429]
    assert [fields.get("X-RateLimit-Remaining") for _, fields, _ in answers] == ["1", "0", "0", "0"]
    assert (meter.refused, len(upstream.received)) == (0, 2)
    await told(one)
