"""The proxy under attack and under load: the fixtures of `tests/app`, on the loop the gateway really runs on too."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.app.conftest import gateway, pytest_asyncio_loop_factories, start, swept_often, upstream

__all__ = ["gateway", "pytest_asyncio_loop_factories", "start", "swept_often", "upstream"]


@pytest.fixture
async def nothing_escapes() -> AsyncIterator[None]:
    """What a callback of ours lets through goes to the loop, not to a test."""
    escaped: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: escaped.append(context))
    yield
    assert escaped == []


@pytest.fixture(scope="session")
def independent() -> Iterator[int]:
    """Port of a server that shares no code with the gateway."""
    command = [sys.executable, "-m", "tests.proxy.independent_server"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=Path(__file__).parents[2], stdin=pipe, stdout=pipe) as server:
        assert server.stdout is not None
        assert server.stdin is not None
        line = server.stdout.readline()
        assert line, "the independent server did not start"
        yield int(line)
        server.stdin.close()  # it ends with its stdin
        server.wait(20)
