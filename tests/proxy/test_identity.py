"""Who is calling cannot be blurred: by `Connection`, by saying it twice, or by spelling it otherwise."""

import asyncio

import pytest

from tests.app.conftest import Running, Start
from tests.fakes.upstream import Upstream

BY_KEY = """
version: 1
keys: {caller: {from: api_key, name: X-Api-Key, on_missing: reject}}
limits: {key-10m: {algorithm: rolling_window, limit: 3, window: 10m, key: [caller]}}
upstreams: {up: {url: "%s"}}
routes: [{name: all, match: {path_prefix: /}, upstream: up, limits: [key-10m]}]
"""


def get(*lines: str) -> bytes:
    return "\r\n".join(("GET / HTTP/1.1", "Host: a", *lines, "", "")).encode("latin-1")


async def statuses(gateway: Running, requests: list[bytes]) -> list[int]:
    """The answers to requests sent one after the other on one socket."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    found = []
    for request in requests:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        found.append(int(head.split(b" ", 2)[1]))
        await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]))
    writer.close()
    return found


async def test_connection_removes_no_identity(start: Start, upstream: Upstream) -> None:
    gateway = await start(BY_KEY % upstream.url)
    named = get("Connection: X-Api-Key, X-Forwarded-For, X-Request-Id, Forwarded, Via, traceparent", "X-Api-Key: k1")
    assert await statuses(gateway, [named] * 5) == [200, 200, 200, 429, 429]
    for request in upstream.received:
        assert request.fields("X-Api-Key") == ["k1"]
        assert all(request.fields(name) for name in ("X-Request-Id", "Forwarded", "Via", "traceparent"))


@pytest.mark.parametrize("second", ["k1", "other", ""])
async def test_a_key_said_twice_is_refused(start: Start, upstream: Upstream, second: str) -> None:
    """Else a fresh first value each time would escape the limit of the one that the upstream reads."""
    gateway = await start(BY_KEY % upstream.url)
    assert await statuses(gateway, [get("X-Api-Key: k1", f"x-api-key: {second}")]) == [400]
    assert upstream.received == []
