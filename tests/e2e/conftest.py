"""Gateways as real processes, with real workers, upstreams that count for themselves, and a real server."""

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.gateways import NOTHING, Process, start_gateway, until_ready_is
from tests.fakes.upstream import Upstream

__all__ = ["Launch", "Process", "until_ready_is"]

Launch = Callable[..., Awaitable[Process]]
PATIENT = {"GATEWAY_STORE__TIMEOUT": "5s"}


@pytest.fixture
async def launch(redis_url: str, redis_client: Any, tmp_path: Path) -> AsyncIterator[Launch]:
    """`await launch(policies_yaml, "--workers", "4")`: started, ready, and ended by its pid afterwards.

    However busy the machine, the store decides: whoever is about a store that is late says how late it may be.
    """
    started: list[Process] = []
    numbers = itertools.count()

    async def start(
        policies: str, *arguments: str, store: str = redis_url, env: Mapping[str, str] = NOTHING, more: str = ""
    ) -> Process:
        name = f"gateway{next(numbers)}"
        one = await start_gateway(
            tmp_path / name, policies, *arguments, store=store, name=name, env={**PATIENT, **env}, more=more
        )
        started.append(one)
        return one

    yield start
    for one in started:
        await one.end()


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    """An upstream that counts what reaches it."""
    async with Upstream() as server:
        yield server
