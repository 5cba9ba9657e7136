"""Calls of connections, and a store that takes what is said of them."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from gateway.core.classes import DEFAULT
from gateway.core.connections.outcome import Outcomes
from gateway.core.connections.state import ConnectionState, Named, Report
from gateway.observe.connections.errors import ConnectionErrors
from gateway.observe.connections.reporting import Connections
from gateway.record import CallRecord
from gateway.settings import Logging

ACME = Named("acme", "conn_42")
OFF = ConnectionErrors(Logging(connection_errors="off"), {})


class Store:
    """Takes reports; says that the connections are as `state` says."""

    def __init__(self) -> None:
        self.pushes: list[dict[Named, Report]] = []
        self.state = ConnectionState.ONLINE
        self.up = True
        self.now = 1_000.0
        self._came = asyncio.Event()

    async def push(self, reports: Sequence[tuple[Named, Report]]) -> list[ConnectionState]:
        self.pushes.append(dict(reports))
        self._came.set()
        return [self.state] * len(reports)

    async def next(self) -> dict[Named, Report]:
        """The next push."""
        while not self.pushes:
            self._came.clear()
            await self._came.wait()
        return self.pushes.pop(0)


def call(store: Store, status: int = 200, error_class: str = "", **changes: Any) -> CallRecord:
    """A call that took a tenth of a second and ends now."""
    record = CallRecord()
    record.request_id, record.tenant, record.connection = "r-1", "acme", "conn_42"
    record.operation, record.entity = "product.read", "product"
    record.started, record.ended = store.now - 0.1, store.now
    record.upstream_status, record.error_class = status, error_class
    record.response_source = "upstream" if status else "gateway"
    for name, value in changes.items():
        setattr(record, name, value)
    return record


FAILING = {"status": 503, "error_class": "server_error"}
REFUSED = {"status": 401, "error_class": "auth_error"}
FAILED = [{"status": 503, "error_class": "server_error", "upstream_ms": 3.0}]
UNSEEN = [{"error_class": "closed", "upstream_ms": 0.1}]  # a kept socket was closed: tried again at once
LIMITED = [{"status": 429, "error_class": "rate_limited", "upstream_ms": 3.0}]
NO_PLACE = [{"error_class": "busy", "upstream_ms": 0.1, "wait_ms": 1000.0}]
GOOD = [{"status": 200, "upstream_ms": 3.0}]


@pytest.fixture
async def store() -> Store:
    return Store()


@pytest.fixture
async def connections(store: Store) -> Connections:
    """Not started: nothing comes by time alone."""
    return Connections(Outcomes(DEFAULT), OFF, store.push, ready=lambda: store.up, clock=lambda: store.now)
