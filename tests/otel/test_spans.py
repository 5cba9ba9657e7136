"""Spans of real gateways, as a collector gets them."""

import asyncio
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import httpx
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tests.e2e.conftest import Launch
from tests.fakes.gateways import Process
from tests.fakes.ports import free_port
from tests.fakes.upstream import Received, Socket, Upstream
from tests.fakes.waiting import PATIENCE_S, eventually
from tests.otel.conftest import Collector, attributes, take

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SERVER, CLIENT = Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CLIENT
POLICIES = """
version: 1
keys:
  tenant: {from: header, name: X-Tenant-Id, on_missing: anonymous}
limits:
  few: {algorithm: rolling_window, limit: 3, window: 10m, key: [tenant]}
upstreams: {up: {url: "%s"}, gone: {url: "http://127.0.0.1:%d"}}
retries:
  twice: {attempts: 3, backoff: {base: 1ms, max: 2ms}}
routes:
  - {name: erp, match: {path_prefix: /erp}, upstream: up, limits: [few], retry: twice}
  - {name: lost, match: {path_prefix: /lost}, upstream: gone}
  - {name: free, match: {path_prefix: /}, upstream: up}
"""


def sampled(flags: str = "01") -> dict[str, str]:
    return {"traceparent": f"00-{TRACE}-{PARENT}-{flags}", "tracestate": "vendor=1"}


def by_kind(spans: list[Any], kind: int) -> list[Any]:
    return sorted((span for span in spans if span.kind == kind), key=lambda span: span.start_time_unix_nano)


@pytest.fixture
def start(launch: Launch, upstream: Upstream, collector: Collector) -> Callable[..., Any]:
    async def started(*arguments: str, **env: str) -> Process:
        variables = {"GATEWAY_TRACES__ENDPOINT": collector.url, **env}
        return await launch(POLICIES % (upstream.url, free_port()), *arguments, env=variables)

    return started


async def test_a_call_and_its_attempt(start: Any, upstream: Upstream, collector: Collector) -> None:
    gateway = await start()
    async with httpx.AsyncClient(base_url=gateway.url, timeout=PATIENCE_S) as caller:
        answer = await caller.get("/erp/items?secret=1", headers={**sampled(), "X-Tenant-Id": "acme"})
    assert answer.status_code == 200
    await collector.until(lambda: len(collector.spans()) == 2)
    (server,), (client,) = by_kind(collector.spans(), SERVER), by_kind(collector.spans(), CLIENT)
    (received,) = upstream.received
    assert received.fields("traceparent") == [f"00-{TRACE}-{client.span_id.hex()}-01"]
    assert received.fields("tracestate") == ["vendor=1"]
    assert {server.trace_id.hex(), client.trace_id.hex()} == {TRACE}
    assert (server.parent_span_id.hex(), client.parent_span_id) == (PARENT, server.span_id)
    assert (server.name, client.name) == ("GET erp", "GET")
    assert server.start_time_unix_nano <= client.start_time_unix_nano
    assert client.end_time_unix_nano <= server.end_time_unix_nano
    said, tried = attributes(server), attributes(client)
    (line,) = gateway.calls()
    assert (line["trace_id"], line["span_id"]) == (TRACE, client.span_id.hex())
    assert said["http.request.method"] == tried["http.request.method"] == "GET"
    assert said["http.response.status_code"] == tried["http.response.status_code"] == 200
    assert (said["url.path"], said["url.scheme"], said["http.route"]) == ("/erp/items", "http", "erp")
    assert (said["server.address"], said["server.port"]) == ("127.0.0.1", gateway.port)
    assert (said["gateway.tenant"], said["gateway.request.id"]) == ("acme", line["request_id"])
    assert (said["gateway.decision"], said["network.protocol.version"]) == ("allowed", "1.1")
    assert tried["server.port"] == upstream.port
    assert "secret" not in str(said)
    (resource, *_) = collector.resources
    told = attributes(resource.resource)
    assert (told["service.name"], told["service.instance.id"], told["gateway.worker"]) == (
        "ratelimit-gateway",
        "gw-0",
        0,
    )


async def test_each_attempt_has_a_span_and_failures_say_so(
    start: Any, upstream: Upstream, collector: Collector
) -> None:
    statuses = iter((b"503 No", b"503 No", b"200 OK"))

    async def script(_request: Received, _socket: Socket) -> bytes:
        return b"HTTP/1.1 %b\r\nContent-Length: 0\r\n\r\n" % next(statuses)

    upstream.script = script
    gateway = await start()
    async with httpx.AsyncClient(base_url=gateway.url, timeout=PATIENCE_S) as caller:
        assert (await caller.get("/erp/1", headers=sampled())).status_code == 200
    await collector.until(lambda: len(collector.spans()) == 4)
    (server,), clients = by_kind(collector.spans(), SERVER), by_kind(collector.spans(), CLIENT)
    parents = [request.fields("traceparent")[0].split("-")[2] for request in upstream.received]
    assert [client.span_id.hex() for client in clients] == parents
    assert [attributes(client)["http.response.status_code"] for client in clients] == [503, 503, 200]
    assert [attributes(client).get("http.request.resend_count") for client in clients] == [None, 1, 2]
    assert [client.status.code for client in clients] == [Status.STATUS_CODE_ERROR] * 2 + [Status.STATUS_CODE_UNSET]
    assert server.status.code == Status.STATUS_CODE_UNSET
    for one, other in pairwise(clients):
        assert one.end_time_unix_nano <= other.start_time_unix_nano


async def test_calls_that_were_refused_or_met_nobody(start: Any, upstream: Upstream, collector: Collector) -> None:
    gateway = await start()
    async with httpx.AsyncClient(base_url=gateway.url, timeout=PATIENCE_S) as caller:
        for _ in range(3):
            await caller.get("/erp/1", headers=sampled())
        assert (await caller.get("/erp/1", headers=sampled())).status_code == 429
        assert (await caller.request("BREW", "/lost", headers=sampled())).status_code == 502
    await collector.until(lambda: len(by_kind(collector.spans(), SERVER)) == 5)
    refused, unanswered = by_kind(collector.spans(), SERVER)[-2:]
    assert attributes(refused)["gateway.limit"] == "few"
    assert not [span for span in collector.spans() if span.parent_span_id == refused.span_id]
    assert refused.span_id.hex() == next(line for line in gateway.calls() if line["status"] == 429)["span_id"]
    assert refused.status.code == Status.STATUS_CODE_UNSET
    assert unanswered.status.code == Status.STATUS_CODE_ERROR
    assert unanswered.name == "_OTHER lost"
    assert attributes(unanswered)["http.request.method_original"] == "BREW"
    (client,) = [span for span in collector.spans() if span.parent_span_id == unanswered.span_id]
    assert attributes(client)["error.type"] == "connect"


async def test_who_decides_what_is_sampled(start: Any, upstream: Upstream, collector: Collector) -> None:
    gateway = await start(GATEWAY_TRACES__SAMPLE="0")
    async with httpx.AsyncClient(base_url=gateway.url, timeout=PATIENCE_S) as caller:
        await caller.get("/x", headers=sampled("00"))
        await caller.get("/x")
        await caller.get("/x", headers={"tracestate": "vendor=1"})
        await caller.get("/x", headers={**sampled(), "traceparent": "00-nonsense-01"})
        await caller.get("/x", headers=sampled("03"))
    await collector.until(lambda: len(collector.spans()) >= 2)
    assert await gateway.stop() == 0
    assert {span.trace_id.hex() for span in collector.spans()} == {TRACE}
    assert [one.fields("traceparent")[0][-2:] for one in upstream.received] == ["00", "00", "00", "00", "03"]
    assert [one.fields("tracestate") for one in upstream.received] == [["vendor=1"], [], [], [], ["vendor=1"]]


async def test_traces_begun_here_are_sampled_and_the_upstream_is_told(
    start: Any, upstream: Upstream, collector: Collector
) -> None:
    gateway = await start("--workers", "2")
    async with httpx.AsyncClient(base_url=gateway.url, timeout=PATIENCE_S) as caller:
        await asyncio.gather(*(caller.get(f"/{number}") for number in range(200)))
    assert await gateway.stop() == 0  # what was not sent yet is sent before
    assert {one.fields("traceparent")[0][-2:] for one in upstream.received} == {"01"}
    assert len(collector.spans()) == 400
    assert {span.parent_span_id for span in by_kind(collector.spans(), SERVER)} == {b""}


async def test_a_collector_in_trouble_costs_spans_only(start: Any, collector: Collector) -> None:
    """It is down, then takes nothing, then never answers; also when the gateway ends."""
    released = asyncio.Event()

    async def refuse() -> int:
        return 400

    async def hang() -> int:
        await released.wait()
        return 200

    await collector.stop()
    gateway = await start(OTEL_EXPORTER_OTLP_TIMEOUT="0.3")
    async with httpx.AsyncClient(base_url=gateway.url, timeout=PATIENCE_S) as caller:

        async def call_until(event: str, count: int) -> None:
            async def told() -> bool:
                assert (await caller.get("/x")).status_code == 200
                return len(gateway.events(event)) >= count

            await eventually(told, event)

        await call_until("traces.failed", 1)
        await collector.start()
        await call_until("traces.recovered", 1)
        collector.behave = refuse
        await call_until("traces.failed", 2)
        collector.behave = take
        await call_until("traces.recovered", 2)
        collector.behave = hang
        await call_until("traces.failed", 3)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{gateway.admin_port}", timeout=PATIENCE_S) as admin:
            scrape = (await admin.get("/metrics")).text
        await caller.get("/x")
    assert 'gateway_traced_calls_total{result="failed"}' in scrape
    assert 'gateway_traced_calls_total{result="sent"}' in scrape
    assert not gateway.events("library.message")
    assert await gateway.stop() == 0
    released.set()


async def test_nobody_waits_for_a_collector_that_never_answers(start: Any, collector: Collector) -> None:
    asked, released = asyncio.Event(), asyncio.Event()

    async def hang() -> int:
        asked.set()
        await released.wait()
        return 200

    collector.behave = hang
    gateway = await start(OTEL_EXPORTER_OTLP_TIMEOUT="3600")
    async with httpx.AsyncClient(base_url=gateway.url, timeout=PATIENCE_S) as caller:
        assert (await caller.get("/x")).status_code == 200
        await asked.wait()
        assert (await caller.get("/x")).status_code == 200
    assert await gateway.stop() == 0
    released.set()
