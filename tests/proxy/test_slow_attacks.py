"""Many slow callers at once, of three kinds, each on a worker of its own: all are thrown out, honest calls are answered."""

import asyncio

from benchmarks.proxy_slow import ATTACKS, Attack, attack
from gateway.listener.door import UNSENT_BYTES
from gateway.memory import KEPT_BYTES

COUNT = 40


async def all_at_once() -> list[Attack]:
    return await asyncio.gather(*(attack(name, COUNT, 1) for name in ATTACKS))


def test_slow_callers_are_thrown_out_and_honest_ones_served() -> None:
    """`attack` returns when the last of them is gone, and fails when an honest call does; times are the script's."""
    for seen in asyncio.run(all_at_once()):
        assert len(seen.lasted_s) == COUNT
        assert len(seen.honest_ms) > COUNT
        assert seen.growth < COUNT * 2 * UNSENT_BYTES + KEPT_BYTES
