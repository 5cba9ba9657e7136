"""Gateways as real processes, with real workers, upstreams that count for themselves, and a real server."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.gateways import Launch, Process, launching, until_ready_is
from tests.fakes.nursery import Nursery
from tests.fakes.upstream import Upstream

__all__ = ["Launch", "Process", "until_ready_is"]


@pytest.fixture
async def launch(redis_url: str, redis_client: Any, tmp_path: Path, nursery: Nursery) -> AsyncIterator[Launch]:
    """`await launch(policies_yaml, "--workers", "4")`: started, ready, and ended by its pid afterwards.

    However busy the machine, the store decides: whoever is about a store that is late says how late it may be.
    """
    async with launching(tmp_path, redis_url, nursery=nursery) as launch:
        yield launch


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    """An upstream that counts what reaches it."""
    async with Upstream() as server:
        yield server
