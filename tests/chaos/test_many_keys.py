"""A million callers: what each costs the server, and that nothing is left of them."""

from collections.abc import Sequence

import pytest
import redis.asyncio

from gateway.core.ask import Ask
from gateway.core.limits import Algorithm, Charge, Limit
from gateway.store.scripts.limits import encode_admit
from gateway.store.scripts.sources import ADMIT
from tests.chaos.conftest import Figures
from tests.fakes.redis_server import RedisServer
from tests.fakes.waiting import pause

KEYS, BATCH, LIVES_S = 250_000, 1_000, 20
SECOND = 1_000_000
WINDOW = LIVES_S * SECOND
ALGORITHMS = (
    Limit("rolling", Algorithm.ROLLING_WINDOW, 500, WINDOW, ("tenant",)),
    Limit("bucket", Algorithm.TOKEN_BUCKET, 100, WINDOW, ("tenant",), 100, WINDOW),
    Limit("fixed", Algorithm.FIXED_WINDOW, 500, WINDOW, ("tenant",)),
    Limit("slots", Algorithm.CONCURRENCY, 8, WINDOW, ("tenant",)),
)
MOST_BYTES = {"rolling": 300, "bucket": 300, "fixed": 300, "slots": 300}


async def admit_all(client: "redis.asyncio.Redis", limit: Limit, callers: Sequence[int]) -> int:
    """One call of each, all that a bucket has; how many were admitted."""
    cost = limit.quota if limit.algorithm is Algorithm.TOKEN_BUCKET else 1
    admitted = 0
    for first in range(0, len(callers), BATCH):
        async with client.pipeline(transaction=False) as pipe:
            for caller in callers[first : first + BATCH]:
                ask = Ask([Charge(limit, f"{limit.name}:{{=tenant-{caller:07}}}", cost)])
                pipe.execute_command(
                    "EVALSHA", ADMIT.sha1_hex, *encode_admit(ask, "01JD2K7Q0Z6C", prefix="gw:", commit=True)
                )
            admitted += sum(reply[0] for reply in await pipe.execute())
    return admitted


@pytest.mark.parametrize("limit", ALGORITHMS, ids=lambda limit: limit.name)
async def test_keys_of_a_million_callers(limit: Limit, own_redis_server: RedisServer, figures: Figures) -> None:
    """A quarter of a million for each algorithm."""
    async with redis.asyncio.Redis.from_url(own_redis_server.url) as client:
        await client.script_load(ADMIT.source)
        before = (await client.info("memory"))["used_memory"]
        assert await admit_all(client, limit, range(KEYS)) == KEYS
        space = (await client.info("keyspace"))["db0"]
        taken = (await client.info("memory"))["used_memory"] - before
        assert space["expires"] == space["keys"], "every key has a time to live"
        while await client.dbsize():
            await pause(0.5, "a key lives for as long as its window")
            async for _ in client.scan_iter(count=10_000):
                pass  # who looks at a key that has ended, ends it
        figures(f"{KEYS:,} callers, {limit.name}", keys=space["keys"], bytes_each=taken / space["keys"])
        assert taken / space["keys"] <= MOST_BYTES[limit.name]
