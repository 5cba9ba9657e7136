"""Waiting in a thread for what servers do by themselves."""

import time
from collections.abc import Callable

import redis

PATIENCE_S = 30.0


def until(condition: Callable[[], bool], what: str) -> None:
    """Ask again and again until it is so; servers that do not answer count as not yet. AssertionError: it took too
    long."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            if condition():
                return
        except redis.RedisError:
            pass
        assert time.monotonic() < deadline, f"not within {PATIENCE_S:g} s: {what}"
        time.sleep(0.005)
