"""The books agree: what callers got, what the upstream saw, log, spans, metrics and counters, for some two hundred calls of
every kind in a random order.

The seeds are fixed, so a failure can be had again. What becomes of a call does not matter here, only that all say the
same of it.
"""

import asyncio
import json
import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.conftest import Launch, Process
from tests.fakes.ports import free_port
from tests.fakes.upstream import Upstream
from tests.fakes.waiting import PATIENCE_S, eventually
from tests.otel.calling import TENANTS, Call, Moody, any_call, make
from tests.otel.conftest import Collector, attributes

POLICIES = """
version: 1
keys:
  tenant: {from: header, name: X-Tenant-Id, on_missing: reject}
  connection: {from: header, name: X-Connection-Id, on_missing: skip}
limits:
  many: {algorithm: rolling_window, limit: 1000, window: 10m, key: [tenant]}
  few: {algorithm: rolling_window, limit: 3, window: 10m, key: [tenant]}
  watched: {algorithm: rolling_window, limit: 3, window: 10m, key: [tenant], mode: shadow}
  tries: {algorithm: rolling_window, limit: 1000, window: 10m, key: [tenant], charge: per_attempt}
  slots: {algorithm: concurrency, limit: 50, key: [tenant], lease: 60s}
breakers:
  soon: {key: [connection], consecutive_failures: 2, open_for: 10m}
retries:
  thrice: {attempts: 3, backoff: {base: 1ms, max: 2ms}, on_error: [connect, timeout, reset_before_response], budget: none}
upstreams:
  up: {url: "%(up)s"}
  late: {url: "%(up)s", timeouts: {first_byte: 100ms}}
  paced: {url: "%(up)s", pace: {rate: 40, per: 1s, max_wait: 20s}}
  one: {url: "%(up)s", max_sockets: 1}
  asks: {url: "%(up)s", learn_limits: {scope: connection}}
  gone: {url: "http://127.0.0.1:%(gone)d"}
routes:
  - {name: plain, match: {path_prefix: /plain/}, upstream: up, limits: [many, slots]}
  - {name: early, match: {path_prefix: /early/}, upstream: up, limits: [many, slots]}
  - {name: few, match: {path_prefix: /few/}, upstream: up, limits: [many, few]}
  - {name: shadow, match: {path_prefix: /shadow/}, upstream: up, limits: [many, watched]}
  - {name: again, match: {path_prefix: /again/}, upstream: up, limits: [tries, slots], retry: thrice}
  - {name: late, match: {path_prefix: /late/}, upstream: late, limits: [tries, slots], retry: thrice}
  - {name: gone, match: {path_prefix: /gone/}, upstream: gone, limits: [tries], retry: thrice}
  - {name: paced, match: {path_prefix: /paced/}, upstream: paced, limits: [many], retry: thrice}
  - {name: paused, match: {path_prefix: /paused/}, upstream: asks, limits: [many]}
  - {name: broken, match: {path_prefix: /broken/}, upstream: up, limits: [many], breaker: soon}
  - {name: one, match: {path_prefix: /one/}, upstream: one, limits: [many]}
  - {name: nobody, match: {path_prefix: /nobody/}, upstream: up, limits: [many]}
  - name: kept
    match: {path_prefix: /kept/}
    upstream: up
    limits: [many]
    modules: {cache: {match: {path: /kept/200}, vary_by: [tenant], ttl: 1h}}
  - name: boxed
    match: {path_prefix: /boxed/}
    upstream: up
    limits: [many]
    modules: {sandbox: {when: {key: tenant, prefix: t}, fixtures: "%(fixtures)s"}}
"""
FIXTURES = "version: 1\nanswers: [{match: {path: /boxed/200}, status: 200, body: {a: 1}, delay: 5ms}]\n"
CALLS, AT_A_TIME = 200, 6
PARTS = ("gateway_ms", "store_ms", "queue_ms", "upstream_ms", "retry_wait_ms")
METHODS = {"GET", "HEAD", "PUT", "DELETE"}
ROUNDED_MS = 0.05
LOOK_S = 0.1

Line = Mapping[str, Any]
Counts = Mapping[str, Counter[tuple[str, ...]]]


class Differences(NamedTuple):
    """Between two books; it is well if there are none."""

    found: Mapping[str, Any]

    def __bool__(self) -> bool:
        return not self.found


@pytest.mark.parametrize(("seed", "workers"), [(1, "1"), (2, "2")])
async def test_all_say_the_same_of_calls_of_every_kind(
    launch: Launch, upstream: Upstream, collector: Collector, tmp_path: Path, seed: int, workers: str
) -> None:
    rng, moody = random.Random(seed), Moody()
    upstream.script, upstream.read_body = moody, False
    fixtures = tmp_path / "fixtures.yaml"
    fixtures.write_text(FIXTURES)
    policies = POLICIES % {"up": upstream.url, "gone": free_port(), "fixtures": fixtures}
    env = {"GATEWAY_TRACES__ENDPOINT": collector.url, "GATEWAY_BOUNDS__BODY_BYTES": "100KiB"}
    gateway = await launch(policies, "--workers", workers, env=env)
    calls = [any_call(rng, number) for number in range(CALLS)]
    turns = asyncio.Semaphore(AT_A_TIME)

    async def one(call: Call) -> None:
        async with turns:
            await make(call, gateway.port, moody)

    await asyncio.gather(*map(one, calls))
    await eventually(lambda: gateway.log.read_bytes().count(b"\n") >= CALLS, "a line for each call", gap_s=LOOK_S)
    lines = {line["request_id"]: line for line in gateway.calls()}
    assert len(lines) == CALLS
    await eventually(lambda: _metrics_differ(gateway, list(lines.values()), calls), gap_s=LOOK_S)
    await eventually(lambda: _counters_differ(gateway, list(lines.values())), gap_s=LOOK_S)
    spans = defaultdict(list)
    for span in collector.spans():
        spans[span.trace_id.hex()].append(span)
    for call in calls:
        line = lines[call.fields["x-request-id"] if call.route == "noise" else call.id]
        _caller_and_line(call, line)
        _upstream_and_line(call, line, moody)
        if call.traced:
            _spans_and_line(line, spans[line["trace_id"]], moody.parents[call.id])
        else:
            assert line.get("trace_id") not in spans


def _caller_and_line(call: Call, line: Line) -> None:
    assert line["status"] == (call.status or 499), line
    assert sum(line.get(part, 0.0) for part in PARTS) == pytest.approx(line["duration_ms"], abs=ROUNDED_MS)
    if not call.status:
        assert (call.left, line["aborted_by"], line["error_class"]) == (True, "client", "client_closed")
        return
    told = call.fields.get
    assert line["bytes_out"] == len(call.body), line
    assert str(line.get("retry_after_s", line.get("upstream_retry_after_s", ""))) == told("retry-after", "")
    shown = {one["name"]: one["remaining"] for one in line.get("limits", ()) if one["mode"] == "enforce"}
    fields = [item.strip().split(";") for item in told("ratelimit", "").split(",") if item]
    assert {name.strip('"'): int(left.removeprefix("r=")) for name, left, *_ in fields} == shown
    if shown:
        assert told("x-ratelimit-remaining") == str(line["limit_remaining"])
    if told("content-type") == "application/problem+json" and call.body:
        assert json.loads(call.body)["code"] == line["problem_code"]
    cut = call.method != "HEAD" and int(told("content-length", "0")) > len(call.body)
    assert cut == ("aborted_by" in line)


def _made(line: Line) -> Sequence[Mapping[str, Any]]:
    """The attempts that were sent, as the line tells of them."""
    if "upstream_ms" not in line or line["response_source"] == "sandbox":
        return ()
    only = {
        name: line[other]
        for name, other in (("status", "upstream_status"), ("error_class", "error_class"))
        if other in line
    }
    sent = line.get("attempts", [{"upstream_ms": line["upstream_ms"], **only}])
    return [one for one in sent if one.get("error_class") != "busy"]


def _upstream_and_line(call: Call, line: Line, moody: Moody) -> None:
    seen, made = moody.seen[call.id], _made(line)
    may_be_unseen = call.route in ("gone", "early") or call.way in ("broken-off", "short")
    assert len(seen) == len(made) or (may_be_unseen and len(seen) < len(made)), line
    for word, attempt in zip(seen, made, strict=False):
        if word.isdigit():
            assert attempt.get("status") == int(word) or (call.left and "status" not in attempt), line
        elif word in ("silent", "reset", "leaves"):
            assert "status" not in attempt, line
            assert attempt["error_class"] in ("timeout", "reset", "client_closed")


def _spans_and_line(line: Line, spans: Sequence[Any], parents: Sequence[str]) -> None:
    (server,) = [span for span in spans if span.kind == Span.SPAN_KIND_SERVER]
    clients = sorted((span for span in spans if span is not server), key=lambda span: span.start_time_unix_nano)
    made, said = _made(line), attributes(server)
    assert _ms(server) == pytest.approx(line["duration_ms"], abs=ROUNDED_MS)
    assert said["http.response.status_code"] == line["status"]
    assert said.get("error.type") == line.get("error_class")
    assert (server.status.code == Status.STATUS_CODE_ERROR) == (line["status"] >= 500)
    assert line["span_id"] == (clients[0] if clients else server).span_id.hex()
    assert {span.parent_span_id for span in clients} <= {server.span_id}
    names = [span.span_id.hex() for span in clients]
    assert names[: len(parents)] == parents
    assert len(clients) == len(made)
    for span, attempt in zip(clients, made, strict=True):
        tried = attributes(span)
        assert tried.get("http.response.status_code") == attempt.get("status")
        assert ("error.type" in tried) == (span.status.code == Status.STATUS_CODE_ERROR)
        assert "error.type" in tried or "status" in attempt
        if span is not clients[-1] or len(clients) == 1:
            assert _ms(span) == pytest.approx(attempt["upstream_ms"], abs=ROUNDED_MS)
        assert server.start_time_unix_nano - 1e3 * ROUNDED_MS * 1e3 <= span.start_time_unix_nano
        assert span.end_time_unix_nano <= server.end_time_unix_nano


def _ms(span: Any) -> float:
    return float(span.end_time_unix_nano - span.start_time_unix_nano) / 1e6


async def _metrics_differ(gateway: Process, lines: Sequence[Line], calls: Sequence[Call]) -> Differences:
    """Counts of a scrape and of the log; of a scrape that is too old, too."""
    async with httpx.AsyncClient(timeout=PATIENCE_S) as client:
        text = (await client.get(f"http://127.0.0.1:{gateway.admin_port}/metrics")).text
    scraped: dict[str, Counter[tuple[str, ...]]] = defaultdict(Counter)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = tuple(value for _, value in sorted(sample.labels.items()))
            if sample.value:
                scraped[sample.name][labels] += int(sample.value)
    counted = _counted(lines)
    counted["gateway_traced_calls_total"] = Counter({("sent",): sum(call.traced for call in calls)})
    gauges = ("gateway_requests_in_flight", "gateway_limit_concurrency_in_use")
    ours = counted | {name: Counter[tuple[str, ...]]() for name in gauges}
    return Differences({name: (scraped[name], count) for name, count in ours.items() if scraped[name] != count})


def _counted(lines: Sequence[Line]) -> dict[str, Counter[tuple[str, ...]]]:
    """Metrics as the log has them, by their labels' values in the order of the labels' names."""
    found: dict[str, Counter[tuple[str, ...]]] = defaultdict(Counter)
    for line in lines:
        route, status, upstream = line.get("route", "none"), str(line["status"]), line.get("upstream", "none")
        method = line.get("method") if line.get("method") in METHODS else "OTHER"
        found["gateway_requests_total"][status, str(method), route, line["response_source"]] += 1
        found["gateway_request_duration_seconds_count"][f"{status[0]}xx", route] += 1
        for name, size in (("request", line["bytes_in"]), ("response", line["bytes_out"])):
            found[f"gateway_{name}_body_bytes_total"] += Counter({(route,): size})
        for one in line.get("limits", ()):
            found["gateway_limit_decisions_total"][one["decision"], one["name"], line["store"]] += 1
        if "upstream_status" in line:
            found["gateway_upstream_requests_total"][str(line["upstream_status"]), upstream] += 1
            found["gateway_upstream_duration_seconds_count"][upstream,] += 1
        failed = line.get("problem_code", "").startswith("UPSTREAM_") and line["response_source"] != "pause"
        if failed or line.get("aborted_by") == "upstream":
            found["gateway_upstream_errors_total"][line["error_class"], upstream] += 1
        outcomes = [one.get("error_class", "success") for one in line.get("attempts", ())]
        for before, after in pairwise(outcomes):
            found["gateway_upstream_retries_total"][after, before, upstream] += 1
        if "cache" in line:
            found["gateway_cache_answers_total"][line["cache"], route] += 1
    return found


async def _counters_differ(gateway: Process, lines: Sequence[Line]) -> Differences:
    """What the store has counted, and what the log says that calls were charged. Of a caller that left while the store was
    asked nobody knows; an attempt behind a socket that had been closed costs nothing, and follows at once."""
    charged, unheard, differ = Counter[tuple[str, str]](), Counter[str](), {}
    for line in lines:
        admitted = line["decision"] in ("allowed", "shadow_limited")
        unheard[line.get("tenant", "")] += "store_ms" in line and "limits" not in line and line["status"] == 499
        for one in line.get("limits", ()) if admitted else ():
            times = 1 + (sum("wait_ms" in again for again in line.get("attempts", ())) if one["name"] == "tries" else 0)
            charged[one["name"], line["tenant"]] += times * one["cost"] * (one["decision"] == "allowed")
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{gateway.admin_port}/-/limits", timeout=PATIENCE_S
    ) as admin:
        for limit in ("many", "few", "watched", "tries", "slots"):
            for tenant in TENANTS:
                used = (await admin.get(f"/{limit}/{tenant}")).json()["used"]
                least = charged[limit, tenant] if limit != "slots" else 0
                if not least <= used <= least + (unheard[tenant] if limit in ("many", "tries") else 0):
                    differ[limit, tenant] = used, least, unheard[tenant]
    return Differences(differ)
