"""Requests and answers that several tests of forwarding send."""

import asyncio

from tests.app.conftest import ONE_ROUTE, Running

GET = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
R = b"HTTP/1.1 200 OK\r\n"
WITH_TIMEOUTS = ONE_ROUTE.replace('{url: "%(url)s"}', '{url: "%(url)s", timeouts: {%(timeouts)s}}')


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


async def connected(gateway: Running) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", gateway.port)
