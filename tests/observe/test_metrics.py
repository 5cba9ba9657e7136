"""What is counted, under which names, and that callers cannot make series."""

import asyncio
import random
import string
import time
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from gateway.core.access.credentials import Credential, OAuth
from gateway.core.ask import NOTHING
from gateway.core.limits import Posture
from gateway.core.policy import PolicySet
from gateway.observe.metrics.instruments import CALL_S, INSTRUMENTS
from gateway.observe.metrics.levels import Levels
from gateway.observe.metrics.sink import AT_ONCE, FOLD_AT, MANY, TICKS, Metrics
from gateway.observe.metrics.tally import Calls, Distribution
from gateway.observe.reports.near_limit import NearLimit
from gateway.record import CallRecord
from tests.fakes.waiting import eventually
from tests.observe.conftest import BUCKET, POLICIES, UPSTREAM, WINDOW, finished_call


def samples(metrics: Metrics) -> dict[str, float]:
    """Every sample of a scrape by `name{label="value",...}`, labels in alphabetical order."""
    metrics.pour()
    body, _ = metrics.text("")
    found = {}
    for family in parse_text(body.decode()):
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(POLICIES)


def test_one_admitted_call(metrics: Metrics, call: CallRecord) -> None:
    metrics.emit(call)
    NearLimit(metrics.on_near).emit(call)
    found = samples(metrics)
    expected = {
        'gateway_requests_total{code="200",method="GET",route="erp",source="upstream"}': 1,
        'gateway_request_duration_seconds_bucket{code_class="2xx",le="0.01",route="erp"}': 0,
        'gateway_request_duration_seconds_bucket{code_class="2xx",le="0.025",route="erp"}': 1,
        'gateway_request_duration_seconds_sum{code_class="2xx",route="erp"}': pytest.approx(0.0125),
        'gateway_request_overhead_seconds_bucket{le="0.001",route="erp"}': 0,
        'gateway_request_overhead_seconds_bucket{le="0.0025",route="erp"}': 1,
        'gateway_request_body_bytes_total{route="erp"}': 3,
        'gateway_response_body_bytes_total{route="erp"}': 1024,
        'gateway_limit_decisions_total{decision="allowed",limit="tenant-10m",store="redis"}': 1,
        'gateway_limit_decisions_total{decision="allowed",limit="connection-1m",store="redis"}': 1,
        'gateway_limit_decisions_total{decision="shadow_limited",limit="tenant-shadow",store="redis"}': 1,
        'gateway_limit_near_total{limit="tenant-10m"}': 1,
        'gateway_limit_near_total{limit="connection-1m"}': 0,
        'gateway_limit_near_total{limit="tenant-shadow"}': 0,
        'gateway_store_operation_seconds_bucket{le="0.0005",operation="admit"}': 1,
        'gateway_store_operation_seconds_count{operation="admit"}': 1,
        'gateway_upstream_requests_total{code="200",upstream="erp-api"}': 1,
        'gateway_upstream_duration_seconds_bucket{le="0.01",upstream="erp-api"}': 1,
    }
    assert {name: found[name] for name in expected} == expected
    assert not any(name.startswith("gateway_upstream_errors_total{") for name in found)


def test_a_refused_call(metrics: Metrics, call: CallRecord) -> None:
    call.status, call.response_source, call.upstream_status, call.upstream_s = 429, "limit", 0, 0.0
    assert call.decision is not None
    refused = call.decision.verdicts[1]._replace(admitted=False)
    call.decision = call.decision._replace(
        admitted=False, verdicts=(call.decision.verdicts[0], refused, call.decision.verdicts[2])
    )
    metrics.emit(call)
    found = samples(metrics)
    assert found['gateway_requests_total{code="429",method="GET",route="erp",source="limit"}'] == 1
    assert found['gateway_limit_decisions_total{decision="limited",limit="connection-1m",store="redis"}'] == 1
    assert found['gateway_limit_near_total{limit="tenant-10m"}'] == 0
    assert not any(name.startswith("gateway_upstream_duration_seconds") for name in found)


@pytest.mark.parametrize(
    ("aborted_by", "code", "error", "counted"),
    [
        ("", "UPSTREAM_TIMEOUT", "timeout", {'gateway_upstream_errors_total{error="timeout",upstream="erp-api"}': 1}),
        ("upstream", "", "reset", {'gateway_upstream_errors_total{error="reset",upstream="erp-api"}': 1}),
        ("client", "", "client_closed", {}),
        ("", "RATE_LIMIT_EXCEEDED", "", {}),
        ("", "UPSTREAM_RATE_LIMITED", "", {}),
    ],
)
def test_errors_of_upstreams_are_counted_by_their_kind(
    metrics: Metrics, call: CallRecord, aborted_by: str, code: str, error: str, counted: dict[str, float]
) -> None:
    call.aborted_by, call.code, call.error_class = aborted_by, code, error
    call.response_source = "pause" if code == "UPSTREAM_RATE_LIMITED" else "gateway"
    metrics.emit(call)
    found = samples(metrics)
    assert {name: found[name] for name in found if "upstream_errors_total{" in name} == counted


def test_nothing_is_counted_twice_by_scraping(metrics: Metrics, call: CallRecord) -> None:
    metrics.emit(call)
    samples(metrics)
    metrics.emit(call)
    metrics.pour()
    name = 'gateway_requests_total{code="200",method="GET",route="erp",source="upstream"}'
    assert samples(metrics)[name] == 2
    assert samples(metrics)[name] == 2


def test_only_what_was_called_since_the_last_time_is_poured(
    metrics: Metrics, call: CallRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(50):
        call.route = f"r{number}"
        metrics.emit(call)
    metrics.pour()
    poured: list[Calls] = []
    monkeypatch.setattr(Calls, "pour", lambda calls: poured.append(calls))
    for _ in range(FOLD_AT + 2):
        metrics.emit(call)
    metrics.pour()
    metrics.pour()
    assert [calls.count for calls in poured] == [FOLD_AT + 2]


def test_calls_that_share_notes_are_counted_by_what_came_of_them(metrics: Metrics, call: CallRecord) -> None:
    """They are looked for where the last one with these notes was counted, and may have ended otherwise."""
    call.notes = {}
    outcomes = [("GET", 200, 200), ("PURGE", 200, 200), ("GET", 404, 404), ("OTHER", 200, 200), ("GET", 200, 429)]
    for number in range(20):
        call.method, call.status, call.upstream_status = outcomes[number % len(outcomes)]
        metrics.emit(call)
    other = Metrics(POLICIES)
    other.emit(call)
    found = samples(metrics)
    name = 'gateway_requests_total{{code="{}",method="{}",route="erp",source="upstream"}}'
    assert [found[name.format(*of)] for of in ((200, "GET"), (200, "OTHER"), (404, "GET"))] == [8, 8, 4]
    answered = 'gateway_upstream_requests_total{{code="{}",upstream="erp-api"}}'
    assert [found[answered.format(code)] for code in (200, 404, 429)] == [12, 4, 4]
    assert found['gateway_request_overhead_seconds_count{route="erp"}'] == 20
    assert samples(other)[name.format(200, "GET")] == 1


def test_calls_that_reached_no_route(metrics: Metrics) -> None:
    record = CallRecord()
    record.status = 400
    metrics.emit(record)
    found = samples(metrics)
    assert found['gateway_requests_total{code="400",method="OTHER",route="none",source="gateway"}'] == 1


def test_callers_cannot_make_series(metrics: Metrics) -> None:
    """100,000 calls with paths, methods, tenants, hosts and agents that were never seen before."""
    rng = random.Random(20)
    call = finished_call()
    metrics.emit(call)
    call.method = "PURGE"
    metrics.emit(call)
    before, memory = samples(metrics).keys(), len(metrics._calls)
    for number in range(100_000):
        call.method = "".join(rng.choices(string.ascii_uppercase, k=8)) if number % 2 else "GET"
        call.target, call.tenant, call.connection = f"/{number}", f"t{number}", f"c{number}"
        call.http_host, call.user_agent = f"h{number}", f"a{number}"
        metrics.emit(call)
    assert samples(metrics).keys() == before
    assert len(metrics._calls) == memory
    assert len(metrics.text("")[0]) < 64 * 1024


def test_levels_are_read_at_each_scrape(metrics: Metrics) -> None:
    levels = Levels({"erp": 2, "": 1}, {"calls": 7}, {"erp-api": (2, 5)}, False)
    metrics.levels = lambda: levels
    found = samples(metrics)
    assert found['gateway_requests_in_flight{route="erp"}'] == 2
    assert found['gateway_requests_in_flight{route="none"}'] == 1
    assert found['gateway_open_connections{listener="calls"}'] == 7
    assert found['gateway_upstream_connections{state="active",upstream="erp-api"}'] == 2
    assert found['gateway_upstream_connections{state="idle",upstream="erp-api"}'] == 5
    assert found["gateway_store_up"] == 0
    levels = Levels()
    assert samples(metrics)["gateway_store_up"] == 1


def test_what_the_system_says_of_the_worker() -> None:
    found = samples(Metrics(POLICIES, worker=3))
    assert found['process_resident_memory_bytes{worker="3"}'] > 3 * 1024 * 1024
    assert found['process_virtual_memory_bytes{worker="3"}'] > found['process_resident_memory_bytes{worker="3"}']
    assert found['process_cpu_seconds_total{worker="3"}'] > 0
    assert 0 < time.time() - found['process_start_time_seconds{worker="3"}'] < time.clock_gettime(time.CLOCK_BOOTTIME)
    assert 3 <= found['process_open_fds{worker="3"}'] <= found['process_max_fds{worker="3"}']


def test_levels_of_what_is_gone_become_zero(metrics: Metrics) -> None:
    metrics.levels = lambda: Levels(upstream_connections={"erp-api": (2, 5)})
    samples(metrics)
    metrics.levels = Levels
    found = samples(metrics)
    assert found['gateway_upstream_connections{state="active",upstream="erp-api"}'] == 0


def test_policy_sets_as_they_come(metrics: Metrics) -> None:
    metrics.count_reload("rejected")
    metrics.reload_went(well=False)
    found = samples(metrics)
    assert found["gateway_policy_last_reload_successful"] == 0
    assert found['gateway_policy_info{version="0123456789ab"}'] == 1
    metrics.policy_loaded(replace(POLICIES, version="ba9876543210", loaded_at="2026-11-21T05:30:00.500Z"))
    metrics.count_reload("unchanged")
    found = samples(metrics)
    assert found["gateway_policy_last_reload_successful"] == 1
    assert found["gateway_policy_last_reload_success_timestamp_seconds"] == 1795239000.5
    assert 'gateway_policy_info{version="0123456789ab"}' not in found
    assert found['gateway_policy_info{version="ba9876543210"}'] == 1
    results = {name: value for name, value in found.items() if name.startswith("gateway_policy_reloads_total{")}
    assert results == {
        'gateway_policy_reloads_total{result="failed"}': 0,
        'gateway_policy_reloads_total{result="loaded"}': 2,
        'gateway_policy_reloads_total{result="rejected"}': 1,
        'gateway_policy_reloads_total{result="unchanged"}': 1,
    }


def test_what_a_reload_takes_away_is_gone_with_the_next_scrape(metrics: Metrics, call: CallRecord) -> None:
    metrics.emit(call)
    for route in ("", "intake:crm"):
        other = finished_call()
        other.route, other.upstream, other.ask, other.decision = route, "", NOTHING, None
        metrics.emit(other)
    metrics.on_breaker_change("fragile", "open")
    metrics.on_near(replace(WINDOW, name="intake.crm"))
    gone = ('route="erp"', 'upstream="erp-api"', 'limit="connection-1m"', 'limit="tenant-shadow"')
    before = samples(metrics)
    assert all(any(label in name for name in before) for label in gone)
    metrics.policy_loaded(PolicySet("ba9876543210", (), {WINDOW.name: WINDOW}, {}, {}))
    found = samples(metrics)
    assert [name for name in found for label in (*gone, "fragile") if label in name] == []
    assert found['gateway_limit_decisions_total{decision="allowed",limit="tenant-10m",store="redis"}'] == 1
    for route in ("none", "intake:crm"):
        assert found[f'gateway_requests_total{{code="200",method="GET",route="{route}",source="upstream"}}'] == 1
    assert found['gateway_limit_near_total{limit="intake.crm"}'] == 1
    metrics.policy_loaded(POLICIES)
    metrics.emit(call)
    assert samples(metrics)['gateway_requests_total{code="200",method="GET",route="erp",source="upstream"}'] == 2


async def test_many_kinds_of_calls_are_poured_in_turns_with_calls_between_them(
    metrics: Metrics, call: CallRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3 * AT_ONCE + 1):
        call.route = f"r{number}"
        metrics.emit(call)
    monkeypatch.setattr("gateway.observe.metrics.ticking.TICK_S", 0.001)
    poured, in_turns = 0, []

    def count(_: Calls) -> None:
        nonlocal poured
        poured += 1

    def look() -> None:  # as a call would, in each turn of the loop
        if poured:
            in_turns.append(poured)
        if poured < 3 * AT_ONCE + 1:
            asyncio.get_running_loop().call_soon(look)

    monkeypatch.setattr(Calls, "pour", count)
    metrics.start()
    look()
    await eventually(lambda: poured == 3 * AT_ONCE + 1)
    metrics.close()
    assert {AT_ONCE, 2 * AT_ONCE, 3 * AT_ONCE} <= {*in_turns}


async def test_of_very_many_kinds_a_tick_pours_some_and_each_in_time(
    metrics: Metrics, call: CallRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = MANY * TICKS * 2
    monkeypatch.setattr("gateway.observe.metrics.ticking.TICK_S", 0.001)
    poured, by_tick = 0, list[int]()

    def count(_: Calls) -> None:
        nonlocal poured
        poured += 1

    monkeypatch.setattr(Calls, "pour", count)
    monkeypatch.setattr(metrics.pulse, "beat", lambda *_: by_tick.append(poured))
    metrics.start()
    for number in range(kinds):
        call.route = f"r{number}"
        metrics.emit(call)
    await eventually(lambda: by_tick[-1:] == [kinds])
    metrics.close()
    began = max(at for at, total in enumerate(by_tick) if not total)
    assert by_tick[began + 1 : began + 1 + TICKS] == [kinds * tick // TICKS for tick in range(1, TICKS + 1)]


def test_a_store_that_is_lost(metrics: Metrics, call: CallRecord) -> None:
    metrics.on_store_event("store.degraded", {"kind": "timeout", "detail": "x"})
    metrics.on_store_event("store.recovered", {"down_s": 1.0})
    metrics.on_fallback(call.charges[:1])
    found = samples(metrics)
    assert found['gateway_store_errors_total{kind="timeout"}'] == 1
    fallback = f'gateway_store_fallback_decisions_total{{limit="tenant-10m",posture="{Posture.LOCAL.value}"}}'
    assert found[fallback] == 1
    assert BUCKET.name not in str([name for name in found if "fallback" in name])


def test_what_alerts_look_for_begins_at_0() -> None:
    """Of a series that comes with its first count `increase` says 0: nobody would be told of what happens once."""
    oauth = OAuth("client_credentials", "http://a", "id")
    renewed = replace(UPSTREAM, credentials=(Credential("c1", UPSTREAM.name, oauth=oauth),))
    found = samples(
        Metrics(replace(POLICIES, upstreams={"erp-api": renewed, "other": replace(UPSTREAM, name="other")}))
    )
    for kind in ("timeout", "connect", "busy", "script", "other"):
        assert found[f'gateway_store_errors_total{{kind="{kind}"}}'] == 0
    for result in ("rejected", "failed"):
        assert found[f'gateway_policy_reloads_total{{result="{result}"}}'] == 0
    for result in ("refused", "unavailable", "unkept"):
        assert found[f'gateway_tokens_total{{result="{result}",upstream="erp-api"}}'] == 0
    assert not [name for name in found if 'upstream="other"' in name and "tokens" in name]


async def test_the_lag_of_the_event_loop_is_measured(metrics: Metrics, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.observe.metrics.ticking.TICK_S", 0.001)
    metrics.start()
    await eventually(lambda: samples(metrics)["gateway_event_loop_lag_seconds_count"] >= 3)
    metrics.close()
    metrics.close()
    assert metrics._ticking._timer is None


def test_counting_by_tally_equals_counting_one_by_one() -> None:
    """The contract with prometheus_client's private histogram buckets."""
    rng = random.Random(3)
    registry = CollectorRegistry()
    ours = Histogram("h", "h", ["a"], buckets=CALL_S, registry=registry).labels("ours")
    theirs = Histogram("t", "t", ["a"], buckets=CALL_S, registry=registry).labels("theirs")
    tally = Distribution(CALL_S, ours)
    for value in [*CALL_S, 0.0, 1e9, *(rng.expovariate(20.0) for _ in range(5_000))]:
        tally.observe(value)
        theirs.observe(value)
        if rng.random() < 0.01:
            tally.pour()
    tally.pour()
    tally.pour()
    assert [bucket.get() for bucket in ours._buckets] == [bucket.get() for bucket in theirs._buckets]
    assert ours._sum.get() == pytest.approx(theirs._sum.get())


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "text/plain; version=0.0.4; charset=utf-8"),
        ("*/*", "text/plain; version=0.0.4; charset=utf-8"),
        (
            "application/openmetrics-text; version=1.0.0, text/plain;q=0.5",
            "application/openmetrics-text; version=1.0.0",
        ),
    ],
)
def test_the_format_follows_the_accept_field(
    metrics: Metrics, call: CallRecord, accept: str, content_type: str
) -> None:
    metrics.emit(call)
    metrics.pour()
    body, given = metrics.text(accept)
    assert given.startswith(content_type)
    parse = parse_openmetrics if "openmetrics" in given else parse_text
    names = {family.name for family in parse(body.decode())}
    assert {name.removesuffix("_total") for name in INSTRUMENTS} <= {name.removesuffix("_total") for name in names}
    assert not any(name.endswith("_created") for name in names)


def test_no_label_can_hold_what_callers_choose() -> None:
    labels = {label for instrument in INSTRUMENTS.values() for label in instrument.labels}
    assert not labels & {"tenant", "account", "connection", "path", "key", "client_ip", "host", "user_agent"}


def test_histograms_name_their_bounds_and_gauges_how_workers_add_up() -> None:
    for name, instrument in INSTRUMENTS.items():
        assert bool(instrument.buckets) == (instrument.type == "histogram"), name
        assert bool(instrument.together) == (instrument.type == "gauge"), name
        assert list(instrument.buckets) == sorted(instrument.buckets), name
        assert name.endswith("_total") == (instrument.type == "counter"), name
