"""A reverse proxy with a limit per tenant, as one writes it in an afternoon: aiohttp's server and client, redis-py.

python ordinary_proxy.py PORT UPSTREAM STORE_PORT LIMIT LOG
"""

import json
import sys
import time
from collections.abc import AsyncIterator

import aiohttp
import redis.asyncio
import uvloop
from aiohttp import web

PORT, UPSTREAM, STORE_PORT, LIMIT, LOG = sys.argv[1:]
WINDOW_S = 600
HOP_BY_HOP = {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "proxy-connection"}
CLIENT = web.AppKey("client", aiohttp.ClientSession)
STORE = web.AppKey("store", redis.asyncio.Redis)
log = open(LOG, "a", buffering=1)  # noqa: SIM115, PTH123 - open as long as the process


async def count(store: "redis.asyncio.Redis", tenant: str) -> int:
    """Calls of this tenant in the window that its first call began."""
    async with store.pipeline() as pipe:
        pipe.incr(f"limit:{tenant}")
        pipe.expire(f"limit:{tenant}", WINDOW_S, nx=True)
        used, _ = await pipe.execute()
    return int(used)


async def proxy(request: web.Request) -> web.StreamResponse:
    """Count, forward, stream the answer back, log."""
    started = time.perf_counter()
    tenant = request.headers.get("X-Tenant", "anonymous")
    used = await count(request.app[STORE], tenant)
    limits = {"X-RateLimit-Limit": LIMIT, "X-RateLimit-Remaining": str(max(0, int(LIMIT) - used))}
    if used > int(LIMIT):
        answer: web.StreamResponse = web.json_response({"error": "too many requests"}, status=429, headers=limits)
    else:
        answer = await forward(request, limits)
    entry = {"time": time.time(), "tenant": tenant, "ip": request.remote, "method": request.method}
    entry |= {"path": request.path, "status": answer.status, "ms": (time.perf_counter() - started) * 1e3}
    log.write(json.dumps(entry) + "\n")
    return answer


async def forward(request: web.Request, limits: dict[str, str]) -> web.StreamResponse:
    """The call to the upstream, bodies streamed both ways."""
    headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
    headers["X-Forwarded-For"] = request.remote or ""
    body = request.content if request.body_exists else None
    url = f"http://{UPSTREAM}{request.raw_path}"
    client = request.app[CLIENT]
    async with client.request(request.method, url, headers=headers, data=body, allow_redirects=False) as theirs:
        ours = web.StreamResponse(status=theirs.status, headers=limits)
        ours.headers.extend((n, v) for n, v in theirs.headers.items() if n.lower() not in HOP_BY_HOP)
        await ours.prepare(request)
        async for piece in theirs.content.iter_any():
            await ours.write(piece)
        await ours.write_eof()
    return ours


async def connections(app: web.Application) -> AsyncIterator[None]:
    """Both clients live as long as the process."""
    app[STORE] = redis.asyncio.Redis(port=int(STORE_PORT))
    app[CLIENT] = aiohttp.ClientSession(auto_decompress=False)
    yield
    await app[CLIENT].close()
    await app[STORE].aclose()


def main() -> None:
    """Serve until SIGTERM."""
    app = web.Application(client_max_size=0)
    app.cleanup_ctx.append(connections)
    app.router.add_route("*", "/{path:.*}", proxy)
    web.run_app(app, host="127.0.0.1", port=int(PORT), access_log=None, print=None, loop=uvloop.new_event_loop())


main()
