"""Compression bombs travel as any other bytes: nothing here ever unpacks them, in either direction."""

import asyncio

import pytest

from benchmarks.proxy_bombs import bomb, measure, unpacked_size

MIB = 2**20


def test_what_we_send_is_a_bomb() -> None:
    data = bomb(64 * MIB)
    assert unpacked_size(data) == 64 * MIB
    assert len(data) * 1000 < 64 * MIB
    with pytest.raises(ValueError, match="not whole"):
        unpacked_size(data[:-9])


def test_a_bomb_passes_as_it_came_and_takes_no_memory() -> None:
    assert asyncio.run(measure(1024 * MIB))
