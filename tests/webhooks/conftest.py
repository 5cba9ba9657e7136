"""Receivers, queues, and couriers between them."""

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from gateway.settings import StoreSettings
from gateway.store.redis import RedisStore
from gateway.store.shared.queues import Office, open_queue_store
from tests.fakes.patience import PATIENT_US
from tests.fakes.redis_server import RedisServer
from tests.fakes.stores import started

T0_US = 1_700_000_000_000_000


@pytest.fixture
async def queue_store(redis_server: RedisServer) -> AsyncIterator[RedisStore]:
    store = open_queue_store(StoreSettings(url=redis_server.url, timeout_us=PATIENT_US))
    assert isinstance(store, RedisStore)
    async with started(store):
        yield store


@pytest.fixture
def office(queue_store: RedisStore) -> Office:
    """A new one, with a clock of its own."""
    return Office(queue_store, uuid4().hex, now_us=T0_US)
