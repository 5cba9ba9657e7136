"""Fixtures of the contract: a synchronous client of the shared server, and each thing that counts."""

from collections.abc import Iterator

import pytest
import redis

from tests.contract.counters import CoreModel, Counter, Local, Scripts


@pytest.fixture
def server(redis_url: str) -> Iterator["redis.Redis"]:
    """A client of the shared server, emptied."""
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
        yield client


@pytest.fixture(params=["core", "local", "scripts"])
def counter(request: pytest.FixtureRequest) -> Counter:
    """Each implementation in turn."""
    if request.param == "scripts":
        return Scripts(request.getfixturevalue("server"))
    return CoreModel() if request.param == "core" else Local()
