"""Upstreams that fail in every way, in any order, under calls of every kind: what must hold whatever happens.

The seeds are fixed, so a failure can be had again.
"""

import asyncio
import random
import re
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest

from gateway.core.retry import Share
from tests.app.conftest import Running, Start
from tests.fakes.upstream import OK, Received, Socket, Upstream
from tests.fakes.waiting import eventually, turns

POLICIES = """
version: 1
retries:
  any: {attempts: 4, backoff: {schedule: [1s]}, on_error: [connect, reset_before_response, malformed], max_body: 64KiB}
upstreams:
  up: {url: "%s", timeouts: {connect: 60s, first_byte: 60s}}
routes:
  - {name: all, match: {path_prefix: /}, upstream: up, retry: any}
"""
CALLS, AT_A_TIME, ATTEMPTS = 150, 8, 4
Outcome = Callable[[Socket], Awaitable[bytes | None]]


def answers(data: bytes) -> Outcome:
    async def outcome(_socket: Socket) -> bytes:
        return data

    return outcome


def breaks(data: bytes) -> Outcome:
    """Sends this and resets."""

    async def outcome(socket: Socket) -> None:
        if data:
            await socket.send(data)
        socket.reset()

    return outcome


async def closes(socket: Socket) -> None:
    socket.writer.close()


FINAL = {
    "ok": answers(OK),
    "not found": answers(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"),
    "broken off": breaks(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun"),
    "last of its socket": answers(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"),
}
FAILED = {
    "down": answers(b"HTTP/1.1 503 Down\r\nContent-Length: 4\r\n\r\ndown"),
    "down, in chunks": answers(b"HTTP/1.1 503 Down\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ndown\r\n0\r\n\r\n"),
    "down until it closes": breaks(b"HTTP/1.1 503 Down\r\nConnection: close\r\n\r\ndown"),
    "later": answers(b"HTTP/1.1 429 Later\r\nRetry-After: 2\r\nContent-Length: 0\r\n\r\n"),
    "reset": breaks(b""),
    "closed": closes,
    "reset inside the head": breaks(b"HTTP/1.1 200 OK\r\nContent-"),
    "no HTTP": breaks(b"SSH-2.0-OpenSSH\r\n\r\n"),
    "hints, then down": answers(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"),
}


class Moody:
    """An upstream's script: each request meets the next mood. Counts the attempts of every call, by its path."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.attempts: Counter[str] = Counter()
        self.bodies: dict[str, set[bytes]] = {}

    async def __call__(self, request: Received, socket: Socket) -> bytes | None:
        self.attempts[request.target] += 1
        self.bodies.setdefault(request.target, set()).add(payload(request))
        moods = FAILED if self._rng.random() < 0.6 else FINAL
        return await moods[self._rng.choice(sorted(moods))](socket)


def payload(request: Received) -> bytes:
    """The body, whatever its framing."""
    if not request.fields("Transfer-Encoding"):
        return request.body
    data, rest = b"", request.body
    while size := int(rest.split(b"\r\n", 1)[0], 16):
        rest = rest.split(b"\r\n", 1)[1]
        data, rest = data + rest[:size], rest[size + 2 :]
    return data


async def call(gateway: Running, rng: random.Random, name: str) -> bytes:
    """One call of some kind, in pieces; now and then its caller leaves."""
    method = rng.choice(["GET", "PUT", "DELETE", "POST"])
    body = rng.randbytes(rng.choice([0, 10, 10_000, 100_000])) if method in ("PUT", "POST") else b""
    key = b"Idempotency-Key: k\r\n" if rng.random() < 0.3 else b""
    head = b"%b /%b/%d/%b HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n%b" % (
        *(method.encode(), method.encode(), len(key), name.encode()),
        key,
    )
    chunked = rng.random() < 0.5
    head += b"Transfer-Encoding: chunked\r\n\r\n" if chunked and body else b"Content-Length: %d\r\n\r\n" % len(body)
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    try:
        writer.write(head)
        for start in range(0, len(body), 8_000):
            piece = body[start : start + 8_000]
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            await turns()
        if chunked and body:
            writer.write(b"0\r\n\r\n")
        return b"" if rng.random() < 0.1 else await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


@pytest.mark.parametrize("seed", range(8))
async def test_whatever_happens_nothing_leaks_and_every_call_is_answered(
    start: Start, upstream: Upstream, seed: int
) -> None:
    rng = random.Random(seed)
    gateway = await start(POLICIES % upstream.url)
    stages = gateway.gateway
    stages.sleep = lambda _seconds: turns()
    moody = Moody(rng)
    upstream.script = moody
    slots = asyncio.Semaphore(AT_A_TIME)

    async def one(number: int) -> bytes:
        async with slots:
            return await call(gateway, rng, str(number))

    given = await asyncio.gather(*(one(number) for number in range(CALLS)))
    records = await gateway.records.wait(CALLS)
    answered = [answer for answer in given if answer]
    odd = [answer for answer in answered if not re.match(rb"HTTP/1\.1 (103|200|404|429|500|502|503) ", answer)]
    assert odd == []
    for target, count in moody.attempts.items():
        _, method, key, _ = target.split("/")
        assert count <= (ATTEMPTS if method != "POST" or key != "0" else 1), target
        whole = {body for body in moody.bodies[target] if body}
        assert len(whole) <= 1, f"{target}: attempts with different bodies"
    assert all(record.attempts is None or 2 <= len(record.attempts) <= ATTEMPTS for record in records)
    assert max(moody.attempts.values()) > 1
    pool = stages.upstreams.pools()["up"]
    await eventually(lambda: not pool.active)  # a socket that was dropped is heard of a moment later
    assert (pool.active, stages.in_flight, pool.budget(Share()).under_way) == (0, 0, 0)
