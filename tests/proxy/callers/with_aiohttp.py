"""aiohttp's client, told what to call on stdin. The protocol is that of `Caller` in test_real_callers.py."""

import asyncio
import hashlib
import json
import sys
from collections.abc import AsyncIterator

import aiohttp


async def pieces(size: int) -> AsyncIterator[bytes]:
    for _ in range(4):
        yield b"u" * (size // 4)


def upload(order: dict) -> bytes | AsyncIterator[bytes] | None:
    if order["chunked"]:
        return pieces(order["upload"])
    return b"u" * order["upload"] if order["upload"] else None


def tell(**what: object) -> None:
    print(json.dumps(what), flush=True)  # noqa: T201


async def main() -> None:
    async with aiohttp.ClientSession() as session:
        while line := await asyncio.to_thread(sys.stdin.readline):
            order = json.loads(line)
            async with session.request(
                order["method"], order["url"], data=upload(order), allow_redirects=False
            ) as answer:
                tell(status=answer.status, headers={name.lower(): value for name, value in answer.headers.items()})
                digest = hashlib.sha256()
                async for piece in answer.content.iter_any():
                    digest.update(piece)
                    tell(piece=piece[:500].decode("latin-1"))
            tell(sha256=digest.hexdigest())


asyncio.run(main())
