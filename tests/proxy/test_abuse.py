"""A real worker process under abuse, seen from outside: the scenes of `benchmarks/proxy_abuse.py`, each with its figure."""

import asyncio

import pytest

from benchmarks.proxy_abuse import SCENES
from benchmarks.proxy_memory import measure


@pytest.mark.parametrize("scene", ["drain-now", "files", "files-plain"])
def test_nothing_is_left_behind(scene: str) -> None:
    assert asyncio.run(SCENES[scene]())


def test_memory_under_large_bodies_and_slow_callers() -> None:
    assert asyncio.run(measure(32))
