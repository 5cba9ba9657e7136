"""Waiting for what others do by themselves: servers, processes, other coroutines. Bounded, and never for time to pass."""

import asyncio
import time
from collections.abc import Callable

import redis

PATIENCE_S = 30.0
TURNS = 1_000
"""Of the event loop that `eventually` looks after each of; then only every so often."""


def until(condition: Callable[[], bool], what: str) -> None:
    """Ask again and again until it is so; servers that do not answer count as not yet. Blocks: for threads.

    AssertionError: it took too long.
    """
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            if condition():
                return
        except redis.RedisError:
            pass
        assert time.monotonic() < deadline, f"not within {PATIENCE_S:g} s: {what}"
        time.sleep(0.005)


async def eventually(condition: Callable[[], object], gap_s: float = 0.002) -> None:
    """Let others run until the condition holds. AssertionError: it took too long.

    gap_s  between two looks, when it takes longer; 0 = look after every turn of the loop: for what soon passes
    """
    deadline = time.monotonic() + PATIENCE_S
    turns = 0
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE_S:g} s"
        turns += 1
        await asyncio.sleep(0 if turns < TURNS else gap_s)
