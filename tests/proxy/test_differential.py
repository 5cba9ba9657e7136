"""The same bytes sent directly to an independent server and through the gateway: only promised headers may differ.

Both answers are read from raw sockets by a reader that shares no code with the gateway. Allowed to differ: the fields
of `docs/headers.md`, the value of Date, what belongs to one connection (Connection, chunked or not, the version in the
status line), a Content-Length on 204 (RFC 9110 §8.6 forbids it), and whether a 100 comes first when the body is already
there (§10.1.1).
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from tests.app.conftest import Running, Start
from tests.proxy.differential_cases import CASES

POLICY = """
version: 1
keys:
  tenant: {from: header, name: X-Tenant-Id, on_missing: anonymous}
limits:
  tenant-10m: {algorithm: rolling_window, limit: 5000, window: 10m, key: [tenant]}
upstreams:
  up: {url: "http://127.0.0.1:%(port)d", host: pass}
routes:
  - {name: all, match: {path_prefix: /}, upstream: up, limits: [tenant-10m]}
"""
PROMISED = {b"ratelimit", b"ratelimit-policy", b"x-ratelimit-limit", b"x-ratelimit-remaining", b"x-ratelimit-reset"}
PROMISED |= {b"x-request-id"}
OF_THE_CONNECTION = {b"connection", b"keep-alive", b"transfer-encoding"}


@dataclass(frozen=True)
class Answer:
    """One answer; `body` without its framing, `framing` one of `none`, `length`, `chunked`, `close`."""

    status: int
    reason: bytes
    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes
    framing: str

    def values(self, name: bytes) -> list[bytes]:
        return [value for field, value in self.fields if field.lower() == name]


async def read_answer(reader: asyncio.StreamReader, method: bytes) -> Answer:
    """RFC 9112 §6.3, in its simplest form."""
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head[:-4].split(b"\r\n")
    _version, status, reason = [*first.split(b" ", 2), b""][:3]
    fields = tuple((name, value.strip(b" \t")) for name, _, value in (line.partition(b":") for line in lines))
    answer = Answer(int(status), reason, fields, b"", "none")
    if method == b"HEAD" or answer.status in (204, 304) or answer.status < 200:
        return answer
    if b"chunked" in answer.values(b"transfer-encoding"):
        return Answer(answer.status, reason, fields, await _read_chunks(reader), "chunked")
    if lengths := answer.values(b"content-length"):
        return Answer(answer.status, reason, fields, await reader.readexactly(int(lengths[0])), "length")
    return Answer(answer.status, reason, fields, await reader.read(), "close")


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    data = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        data += await reader.readexactly(size)
        assert await reader.readexactly(2) == b"\r\n"
    assert await reader.readexactly(2) == b"\r\n"
    return data


@asynccontextmanager
async def socket_to(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
    try:
        yield reader, writer
    finally:
        writer.close()


async def ask(port: int, requests: list[bytes]) -> tuple[list[Answer], bool]:
    """All sent at once on one socket: (their final answers, whether the socket then serves one more)."""
    answers = []
    async with asyncio.timeout(30), socket_to(port) as (reader, writer):
        writer.write(b"".join(requests))
        for request in requests:
            answer = await read_answer(reader, request.split(b" ", 1)[0])
            while answer.status < 200:
                answer = await read_answer(reader, b"")
            answers.append(answer)
        writer.write(b"GET /get HTTP/1.1\r\nHost: origin.test\r\nConnection: close\r\n\r\n")
        try:
            again = await reader.read()
        except ConnectionError:
            again = b""
    return answers, again.startswith(b"HTTP/1.1 200 ")


def asks_to_close(request: bytes) -> bool:
    head = request.partition(b"\r\n\r\n")[0]
    return b"\r\nConnection: close" in head or (b" HTTP/1.0\r\n" in head and b"\r\nConnection: keep-alive" not in head)


def comparable(answer: Answer) -> tuple[object, ...]:
    """What has to be the same however the answer came."""
    fields = []
    for name, value in answer.fields:
        lower = name.lower()
        if lower in PROMISED | OF_THE_CONNECTION or (lower == b"proxy-status" and answer.status >= 500):
            continue
        if lower == b"content-length" and answer.status == 204:
            continue
        fields.append((name, b"(now)" if lower == b"date" else value))
    return answer.status, answer.reason, fields, answer.body


@pytest.fixture
async def proxied(start: Start, independent: int) -> Running:
    return await start(POLICY % {"port": independent})


@pytest.mark.parametrize("requests", [requests for _, requests in CASES], ids=[name[:60] for name, _ in CASES])
async def test_only_promised_headers_differ(proxied: Running, independent: int, requests: list[bytes]) -> None:
    """Directly each request has a socket to itself; through the gateway they share one, and it stays usable."""
    direct = [(await ask(independent, [request]))[0][0] for request in requests]
    through, stays_open = await ask(proxied.port, requests)
    assert [comparable(answer) for answer in through] == [comparable(answer) for answer in direct]
    assert all(answer.values(b"ratelimit-policy") for answer in through)  # it did go through the gateway
    assert all(len(answer.values(b"x-request-id")) == 1 for answer in through)
    assert stays_open is not asks_to_close(requests[-1])


def test_there_are_enough_cases_and_none_twice() -> None:
    assert len({tuple(requests) for _, requests in CASES}) == len(CASES) >= 100
