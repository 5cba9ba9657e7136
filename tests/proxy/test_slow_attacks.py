"""Many slow callers at once, of three kinds, on a worker of its own: all are thrown out, honest calls are answered."""

import asyncio

import pytest

from benchmarks.proxy_slow import ATTACKS, attack
from gateway.listener.door import UNSENT_BYTES

COUNT = 60


@pytest.mark.parametrize("name", ATTACKS)
def test_slow_callers_are_thrown_out_and_honest_ones_served(name: str) -> None:
    """`attack` returns when the last of them is gone, and fails when an honest call does; times are the script's."""
    seen = asyncio.run(attack(name, COUNT, 1))
    assert len(seen.lasted_s) == COUNT
    assert len(seen.honest_ms) > COUNT
    assert seen.growth < COUNT * 2 * UNSENT_BYTES
