"""Callers that leave while the store decides: whoever comes after them gets answers of their own."""

import asyncio

from tests.chaos.conftest import Figures, Fleet
from tests.fakes.ledger import Ledger
from tests.fakes.load import Call, Load, by_status
from tests.fakes.redis_server import RedisServer
from tests.fakes.waiting import pause
from tests.fakes.wire import Wire

LEAVERS, ROUNDS, WORKERS = 1000, 5, 2
POLICIES = """
version: 1
keys:
  tenant: {from: header, name: X-Tenant-Id, on_missing: reject}
limits:
  few: {algorithm: rolling_window, limit: 5, window: 10m, key: [tenant]}
  more: {algorithm: rolling_window, limit: 9, window: 10m, key: [tenant]}
  slots: {algorithm: concurrency, limit: 10000, lease: 10m, key: []}
upstreams:
  up: {url: "%s", timeouts: {connect: 60s, first_byte: 60s}}
routes:
  - {name: few, match: {path_prefix: /few/}, upstream: up, limits: [few, slots]}
  - {name: more, match: {path_prefix: /more/}, upstream: up, limits: [more, slots]}
"""


async def leave(port: int, target: str, tenant: str, after_s: float) -> None:
    """Ask, and reset the connection before the answer can be there."""
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {target} HTTP/1.1\r\nHost: a\r\nX-Tenant-Id: {tenant}\r\n\r\n".encode())
    await pause(after_s, "it leaves at another moment each time")
    writer.transport.abort()


async def test_a_thousand_leave_while_the_store_decides(
    fleet: Fleet, ledger: Ledger, own_redis_server: RedisServer, figures: Figures
) -> None:
    async with Wire(own_redis_server.path) as wire:
        gateway = await fleet(POLICIES % ledger.url, "--workers", str(WORKERS), store=wire.url)
        wire.delay_s = 0.05
        wrong = 0
        for number in range(ROUNDS):
            leaving = [
                leave(gateway.port, f"/{route}/gone/{number}", f"gone-{number}-{at}", 0.01 + at % 30 / 1000)
                for at in range(LEAVERS // ROUNDS // 2)
                for route in ("few", "more")
            ]
            async with Load([gateway.port]) as load:
                gone = asyncio.gather(*leaving)
                for at in range(40):
                    for route in ("few", "more"):
                        load.send(Call(f"/{route}/{number}/{at}", f"{route}-{number}"))
                await load.idle()
                await gone
            for route, quota in (("few", 5), ("more", 9)):
                mine = [call for call in load.calls if call.tenant.startswith(route)]
                told = {call.field("RateLimit-Policy").partition(";w=")[0] for call in mine}
                wrong += by_status(mine) != {200: quota, 429: 40 - quota}
                wrong += told != {f'"{route}";q={quota}'}
        assert wire.open == WORKERS
        wire.delay_s = 0.0
        await gateway.stop()
    assert wrong == 0
    cut = [line for line in gateway.calls() if line["status"] == 499]
    figures("callers leave while the store decides", left=LEAVERS, seen_leaving=len(cut), wrong=wrong)
    assert len(cut) > LEAVERS / 2
    assert own_redis_server.command("ZCARD", "gw:slots:{}") == 0, own_redis_server.command("KEYS", "gw:slots*")
