"""A collector that takes OTLP over HTTP, and gateways that send their spans to it.

These tests need the extra `otel`, which `.[test]` brings. Where it is not installed they are left out.
"""

import asyncio
import gzip
import importlib.util
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
from aiohttp import web

from tests.e2e.conftest import launch as launch
from tests.e2e.conftest import upstream as upstream

if importlib.util.find_spec("opentelemetry") is None:
    collect_ignore_glob = ["test_*.py"]

Behave = Callable[[], Awaitable[int]]


async def take() -> int:
    """Answer 200."""
    return 200


class Collector:
    """Decodes what it is sent. `behave` decides on the answer's status, when it likes to."""

    def __init__(self) -> None:
        self.resources: list[Any] = []
        self.requests: list[web.BaseRequest] = []
        self.behave: Behave = take
        self.port = 0
        self._came = asyncio.Condition()
        self._runner: web.ServerRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        self._runner = web.ServerRunner(web.Server(self._answer), shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        assert self._runner.addresses
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        body = await request.read()
        if request.headers.get("Content-Encoding") == "gzip" and body[:2] == b"\x1f\x8b":
            body = gzip.decompress(body)
        status = await self.behave()
        async with self._came:
            self.requests.append(request)
            if status == 200:
                self.resources.extend(ExportTraceServiceRequest.FromString(body).resource_spans)
            self._came.notify_all()
        return web.Response(status=status)

    def spans(self) -> list[Any]:
        return [span for resource in self.resources for scope in resource.scope_spans for span in scope.spans]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for requests until it is so."""
        async with self._came:
            await self._came.wait_for(condition)


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    one = Collector()
    await one.start()
    yield one
    with suppress(Exception):
        await one.stop()


def attributes(of: Any) -> dict[str, Any]:
    """Attributes of a span or a resource as plain values."""
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in of.attributes}
