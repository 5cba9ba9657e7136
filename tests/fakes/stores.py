"""Stores for as long as a test needs them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from gateway.store.redis import RedisStore
from tests.fakes.patience import PATIENT_US


@asynccontextmanager
async def started(store: Any) -> AsyncIterator[Any]:
    """The store, started; closed behind it, also when it could not be started."""
    try:
        await store.start()
        yield store
    finally:
        await store.close()


def patient(url: str) -> RedisStore:
    """One that a busy host does not make look lost."""
    return RedisStore(url, timeout_us=PATIENT_US)
