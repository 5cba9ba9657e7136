"""What callers see of limits: fields on every limited answer, honest refusals, the upstream's own fields merged."""

import gc
import json
from email.utils import parsedate_to_datetime
from types import SimpleNamespace

import http_sf
import pytest

from gateway.admit import REMEMBER_S
from gateway.core.problems import RATE_LIMIT, Refusal
from gateway.refuse import HERE, Written
from gateway.settings import HeaderSettings
from tests.app.conftest import ONE_ROUTE, Running, Start
from tests.fakes.collector import no_collector
from tests.fakes.upstream import Upstream, always

GET = b"GET /x HTTP/1.1\r\nHost: a\r\nX-Tenant-Id: acme\r\n\r\n"
POLICIES = """
version: 1
keys:
  tenant: {from: header, name: X-Tenant-Id, on_missing: %(on_missing)s}
  connection: {from: header, name: X-Connection-Id, on_missing: skip}
limits:
  tenant-10m:
    algorithm: rolling_window
    limit: 3
    window: 10m
    key: [tenant]
    mode: %(mode)s
    overrides:
      - {match: {tenant: vip}, limit: 5}
      - {match: {tenant: free}, mode: off}
  connection-1m: {algorithm: token_bucket, rate: 60, per: 1m, burst: 20, key: [connection]}
upstreams:
  up: {url: "%(url)s"}
routes:
  - name: all
    match: {path_prefix: /}
    upstream: up
    limits: [tenant-10m, connection-1m]
    operations:
      - {name: batch, match: {method: POST, path: /batch}, cost: {tenant-10m: 3}}
      - {name: ping, match: {path: /ping}, cost: {tenant-10m: 0}}
"""


def policies(upstream: Upstream, on_missing: str = "anonymous", mode: str = "enforce") -> str:
    return POLICIES % {"url": upstream.url, "on_missing": on_missing, "mode": mode}


def parse(answer: bytes) -> tuple[int, dict[str, str], bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    return int(first.split()[1]), dict(line.split(": ", 1) for line in lines), body


async def call(
    gateway: Running, *lines: str, method: str = "GET", path: str = "/x"
) -> tuple[int, dict[str, str], bytes]:
    head = [f"{method} {path} HTTP/1.1", "Host: a", "Connection: close", "Content-Length: 0", *lines, "", ""]
    return parse(await gateway.raw("\r\n".join(head).encode()))


async def test_every_limited_answer_says_where_the_caller_stands(start: Start, upstream: Upstream) -> None:
    gateway = await start(policies(upstream))
    for left in (2, 1, 0):
        status, fields, _ = await call(gateway, "X-Tenant-Id: acme", "X-Connection-Id: c1")
        assert status == 200
        assert fields["RateLimit-Policy"] == '"tenant-10m";q=3;w=600, "connection-1m";q=20;w=20'
        states = dict(http_sf.parse(fields["RateLimit"].encode(), tltype="list"))
        assert states["tenant-10m"]["r"] == left
        assert (fields["X-RateLimit-Limit"], fields["X-RateLimit-Remaining"]) == ("3", str(left))
        assert int(fields["X-RateLimit-Reset"]) == states["tenant-10m"]["t"]
    status, fields, body = await call(gateway, "X-Tenant-Id: acme", "X-Connection-Id: c1")
    assert status == 429
    problem = json.loads(body)
    assert problem["code"] == "RATE_LIMIT_EXCEEDED"
    assert problem["violated-policies"] == ["tenant-10m"]
    assert problem["detail"] == "Limit tenant-10m (3 per 600 s) is used up."
    assert problem["connection_id"] == "c1"
    assert problem["request_id"] == fields["X-Request-Id"]
    assert problem["retry_after"] == int(fields["Retry-After"]) == int(fields["X-RateLimit-Reset"])
    assert 595 <= problem["retry_after"] <= 600
    assert fields["Content-Type"] == "application/problem+json"
    assert fields["Cache-Control"] == "no-store"
    assert parsedate_to_datetime(fields["Date"]).tzinfo is not None
    assert fields["Proxy-Status"] == 'gw-test; error=http_request_denied; details="tenant-10m"'
    for name in ("RateLimit", "RateLimit-Policy"):
        assert len(http_sf.parse(fields[name].encode(), tltype="list")) == 2
    assert len(upstream.received) == 3
    record = (await gateway.records.wait(4))[3]
    assert (record.verdict, record.limit_fired, record.response_source) == ("limited", "tenant-10m", "limit")


async def test_overrides_and_costs(start: Start, upstream: Upstream) -> None:
    gateway = await start(policies(upstream))
    assert [(await call(gateway, "X-Tenant-Id: vip"))[0] for _ in range(6)] == [200] * 5 + [429]
    assert [(await call(gateway, "X-Tenant-Id: free"))[0] for _ in range(6)] == [200] * 6
    _, fields, _ = await call(gateway, "X-Tenant-Id: free")
    assert "RateLimit" not in fields
    status, fields, _ = await call(gateway, "X-Tenant-Id: batcher", method="POST", path="/batch")
    assert (status, fields["X-RateLimit-Remaining"]) == (200, "0")
    assert (await gateway.records.wait(14))[13].operation == "batch"


async def test_what_costs_nothing_of_a_limit_is_let_in_when_it_is_used_up_and_without_its_key(
    start: Start, upstream: Upstream
) -> None:
    gateway = await start(policies(upstream, on_missing="reject"))
    await call(gateway, "X-Tenant-Id: acme", method="POST", path="/batch")
    assert (await call(gateway, "X-Tenant-Id: acme"))[0] == 429
    for who in ("X-Tenant-Id: acme", "X-Connection-Id: c1"):
        status, fields, _ = await call(gateway, who, path="/ping")
        assert (status, "tenant-10m" in fields.get("RateLimit", "")) == (200, False)
    (_, _, free, by_connection) = await gateway.records.wait(4)
    assert ([one.limit.name for one in free.charges], free.operation) == ([], "ping")
    assert [one.limit.name for one in by_connection.charges] == ["connection-1m"]


async def test_a_reset_that_is_a_point_in_time_is_not_too_early(start: Start, upstream: Upstream) -> None:
    settings = HeaderSettings(legacy_reset="epoch_seconds")
    gateway = await start(policies(upstream), headers=settings)
    gateway.gateway.wall_clock = lambda: 1_800_000_000.9
    _, fields, _ = await call(gateway, "X-Tenant-Id: acme")
    assert int(fields["X-RateLimit-Reset"]) == 1_800_000_001 + int(fields["RateLimit"].partition(";t=")[2])


async def test_who_asks_for_more_than_is_left_is_told_so(start: Start, upstream: Upstream) -> None:
    gateway = await start(policies(upstream).replace("window: 10m", "window: 1h"))
    await call(gateway, "X-Tenant-Id: acme")
    _, fields, body = await call(gateway, "X-Tenant-Id: acme", method="POST", path="/batch")
    assert (fields["RateLimit"].split(";")[1], fields["X-RateLimit-Remaining"]) == ("r=2", "2")
    assert json.loads(body)["detail"] == "Limit tenant-10m (3 per 3600 s) has less left than this call costs."
    for _ in range(3):
        status, _, body = await call(gateway, "X-Tenant-Id: acme")
    assert status == 429
    assert json.loads(body)["detail"] == "Limit tenant-10m (3 per 3600 s) is used up."


async def test_a_missing_key_part_is_skipped_anonymous_or_rejected(start: Start, upstream: Upstream) -> None:
    gateway = await start(policies(upstream))
    status, fields, _ = await call(gateway)  # anonymous tenant, connection limit skipped
    assert (status, fields["RateLimit-Policy"]) == (200, '"tenant-10m";q=3;w=600')
    _, fields, _ = await call(gateway, "X-Tenant-Id: ~")  # no caller can choose the anonymous counter
    assert fields["X-RateLimit-Remaining"] == "2"
    strict = await start(policies(upstream, on_missing="reject"))
    status, _, body = await call(strict)
    assert (status, json.loads(body)["code"]) == (400, "RATE_LIMIT_KEY_MISSING")
    assert "X-Tenant-Id".lower() in json.loads(body)["detail"]


async def test_shadow_limits_are_recorded_and_never_seen(start: Start, upstream: Upstream) -> None:
    gateway = await start(policies(upstream, mode="shadow"))
    for _ in range(4):
        status, fields, _ = await call(gateway, "X-Tenant-Id: acme")
        assert status == 200
        assert "RateLimit" not in fields
    records = await gateway.records.wait(4)
    assert [record.verdict for record in records] == ["allowed"] * 3 + ["shadow_limited"]
    assert records[3].limit_fired == "tenant-10m"


async def test_a_call_without_a_route_is_404_and_says_nothing_of_limits(start: Start, upstream: Upstream) -> None:
    gateway = await start((ONE_ROUTE % {"url": upstream.url}).replace("path_prefix: /", "path_prefix: /erp/"))
    status, fields, body = await call(gateway)
    assert (status, json.loads(body)["code"]) == (404, "NO_ROUTE")
    assert "RateLimit" not in fields


UPSTREAM_FIELDS = [
    # (what the upstream says, lines that must be there, lines that must not)
    (
        'RateLimit-Policy: "theirs";q=9;w=60\r\nRateLimit: "theirs";r=4;t=9',
        ['RateLimit: "theirs";r=4;t=9', 'RateLimit-Policy: "theirs";q=9;w=60', 'RateLimit: "tenant-10m";r=499;'],
        [],
    ),
    (
        'RateLimit: "tenant-10m";r=4;t=9, "b";r=1',
        ['RateLimit: "up-tenant-10m";r=4;t=9, "b";r=1', 'RateLimit: "tenant-10m";r=499;'],
        ['RateLimit: "tenant-10m";r=4;'],
    ),
    (
        "X-RateLimit-Limit: 100\r\nX-RateLimit-Remaining: 7\r\nX-RateLimit-Reset: 55",
        [
            "X-RateLimit-Limit: 100",
            "X-RateLimit-Remaining: 7",
            "X-RateLimit-Reset: 55",
            'RateLimit: "tenant-10m";r=499;',
        ],
        ["X-RateLimit-Remaining: 499"],
    ),
    (
        "X-RateLimit-Limit: 9000\r\nX-RateLimit-Remaining: 8000\r\nX-RateLimit-Reset: 55",
        ["X-RateLimit-Limit: 500", "X-RateLimit-Remaining: 499"],
        ["X-RateLimit-Limit: 9000", "X-RateLimit-Remaining: 8000"],
    ),
    (  # as much as we have left: ours is no worse
        "X-RateLimit-Limit: 9000\r\nX-RateLimit-Remaining: 499\r\nX-RateLimit-Reset: 55",
        ["X-RateLimit-Limit: 500", "X-RateLimit-Remaining: 499"],
        ["X-RateLimit-Limit: 9000"],
    ),
    (  # as much, but for longer
        "X-RateLimit-Remaining: 499\r\nX-RateLimit-Reset: 3600",
        ["X-RateLimit-Remaining: 499", "X-RateLimit-Reset: 3600"],
        ["X-RateLimit-Limit: 500"],
    ),
    (  # a 429 that only says until when, as some vendors have it
        "X-RateLimit-Reset: 30",
        ["X-RateLimit-Reset: 30", 'RateLimit: "tenant-10m";r=499;'],
        ["X-RateLimit-Limit: 500", "X-RateLimit-Remaining: 499"],
    ),
    (  # who reads ours as seconds would wait for decades
        "X-RateLimit-Limit: 60\r\nX-RateLimit-Remaining: 7\r\nX-RateLimit-Reset: 2000000000\r\nDate: Wed, 18 May 2033 03:32:40 GMT",
        ["X-RateLimit-Limit: 60", "X-RateLimit-Remaining: 7", "X-RateLimit-Reset: 40\r\n"],
        ["X-RateLimit-Reset: 2"],
    ),
    ("X-RateLimit-Reset: -3", ["X-RateLimit-Remaining: 499"], ["X-RateLimit-Reset: -3"]),
    ("X-RateLimit-Remaining: " + "9" * 5000, ["X-RateLimit-Remaining: 499"], []),
    ("X-RateLimit-Remaining: many", ["X-RateLimit-Remaining: 499"], ["X-RateLimit-Remaining: many"]),
    ("Retry-After: 120", ["Retry-After: 120"], []),
    (  # of draft -07, as many libraries of today send them
        "RateLimit-Policy: 100;w=60\r\nRateLimit: limit=100, remaining=7, reset=5",
        ['RateLimit-Policy: "up-100";q=100;w=60', 'RateLimit: "up-100";r=7;t=5'],
        ["RateLimit-Policy: 100", "RateLimit: limit"],
    ),
    ("RateLimit-Policy: (((\r\nRateLimit: soon", ['RateLimit: "tenant-10m";r=499;'], ["RateLimit: soon"]),
]


@pytest.mark.parametrize(("says", "there", "gone"), UPSTREAM_FIELDS, ids=range(len(UPSTREAM_FIELDS)))
async def test_the_upstreams_own_fields_are_merged(
    gateway: Running, upstream: Upstream, says: str, there: list[str], gone: list[str]
) -> None:
    upstream.script = always(f"HTTP/1.1 429 Slow down\r\n{says}\r\nContent-Length: 2\r\n\r\nno".encode())
    head = (await gateway.raw(GET, until=b"no")).decode()
    for line in there:
        assert f"\r\n{line}" in head
    for line in gone:
        assert f"\r\n{line}" not in head
    for name in ("RateLimit", "RateLimit-Policy"):
        values = [line.partition(": ")[2] for line in head.split("\r\n") if line.startswith(f"{name}: ")]
        assert "tenant-10m" in dict(http_sf.parse(", ".join(values).encode(), tltype="list"))


@pytest.mark.parametrize(
    ("says", "left", "reset_s"),
    [
        ("X-RateLimit-Remaining: 7\r\nX-RateLimit-Reset: 55", 7, 55),
        ("X-RateLimit-Remaining: 7\r\nX-RateLimit-Reset: 1800000030000", 7, 30),
        ("X-RateLimit-Reset: 30", None, 30),
        ('RateLimit: "a";r=9;t=9, "b";r=4;t=8', 4, 8),
        ("RateLimit-Remaining: 3\r\nRateLimit-Reset: 2", 3, 2),
        ("X-Rate-Limit-Remaining: 0", 0, 0),
        ("Retry-After: 120", None, 0),
    ],
)
async def test_the_record_has_what_the_upstream_says_is_left(
    gateway: Running, upstream: Upstream, says: str, left: int | None, reset_s: int
) -> None:
    gateway.gateway.wall_clock = lambda: 1_800_000_000.0
    upstream.script = always(f"HTTP/1.1 429 Slow down\r\n{says}\r\nContent-Length: 2\r\n\r\nno".encode())
    await gateway.raw(GET, until=b"no")
    [record] = await gateway.records.wait(1)
    assert (record.upstream_limit_remaining, record.upstream_limit_reset_s) == (left, reset_s)


SLOTS_TOO = """
version: 1
limits:
  window: {algorithm: rolling_window, limit: 2, window: 10m, key: []}
  bucket: {algorithm: token_bucket, rate: 1, per: 15m, burst: 2, key: []}
  slots: {algorithm: concurrency, limit: 1, lease: 30m, key: []}
upstreams:
  up: {url: "%(url)s"}
routes:
  - {name: all, match: {path_prefix: /}, upstream: up, limits: [slots, window, bucket]}
"""


async def test_the_one_limit_of_the_older_fields_is_one_that_matters(start: Start, upstream: Upstream) -> None:
    """Not the slot that the call itself has; and the one that makes a refused caller wait as long as it has to."""
    gateway = await start(SLOTS_TOO % {"url": upstream.url})
    for left in ("1", "0"):
        _, fields, _ = await call(gateway)
        assert (fields["X-RateLimit-Limit"], fields["X-RateLimit-Remaining"]) == ("2", left)
    status, fields, body = await call(gateway)
    assert (status, json.loads(body)["violated-policies"]) == (429, ["bucket", "window"])
    assert 600 < int(fields["Retry-After"]) <= 900  # longer than the window
    assert fields["X-RateLimit-Reset"] == fields["Retry-After"]


async def test_a_callers_name_is_told_as_it_is_also_if_it_is_our_own_mark(start: Start, upstream: Upstream) -> None:
    """The id of the request is put into a document that is kept, where a mark stands for it."""
    gateway = await start(policies(upstream))
    for _ in range(3):
        await call(gateway, "X-Tenant-Id: acme", f"X-Connection-Id: {HERE}")
    for _ in range(2):
        status, fields, body = await call(gateway, "X-Tenant-Id: acme", f"X-Connection-Id: {HERE}")
        problem = json.loads(body)
        assert (status, problem["connection_id"], problem["request_id"]) == (429, HERE, fields["X-Request-Id"])


async def test_head_refusals_have_no_body(start: Start, upstream: Upstream) -> None:
    gateway = await start(policies(upstream))
    for _ in range(3):
        await call(gateway, "X-Tenant-Id: acme")
    status, fields, body = await call(gateway, "X-Tenant-Id: acme", method="HEAD")
    assert (status, body) == (429, b"")
    assert int(fields["Content-Length"]) > 100


async def test_a_flood_of_calls_that_can_only_be_refused_asks_the_store_once(start: Start, upstream: Upstream) -> None:
    gateway = await start(policies(upstream))
    now_s = 1000.0
    gateway.gateway.clock = lambda: now_s
    asked = []
    admit = gateway.gateway.store.admit
    gateway.gateway.store.admit = lambda ask, lease: asked.append(ask) or admit(ask, lease)  # type: ignore[method-assign, func-returns-value]
    for _ in range(3):
        assert (await call(gateway, "X-Tenant-Id: acme"))[0] == 200
    refused = [await call(gateway, "X-Tenant-Id: acme") for _ in range(10)]
    assert len(asked) == 4
    assert {answer[0] for answer in refused} == {429}
    assert len({answer[1]["Retry-After"] for answer in refused}) == 1
    assert (await call(gateway, "X-Tenant-Id: other"))[0] == 200
    assert len(asked) == 5
    now_s += REMEMBER_S
    assert (await call(gateway, "X-Tenant-Id: acme"))[0] == 429
    assert len(asked) == 6


async def test_a_limit_may_answer_in_its_own_words(start: Start, upstream: Upstream) -> None:
    own = "key: [tenant]\n    refusal: {status: 402, detail: 'Ask sales for “more”.'}\n    mode:"
    gateway = await start(policies(upstream).replace("key: [tenant]\n    mode:", own))
    for caller in ("acme", "vip"):  # whom an override applies to is told the same
        for _ in range(3 if caller == "acme" else 5):
            assert (await call(gateway, f"X-Tenant-Id: {caller}"))[0] == 200
        status, fields, body = await call(gateway, f"X-Tenant-Id: {caller}")
        document = json.loads(body)
        assert (status, document["status"], document["code"]) == (402, 402, "RATE_LIMIT_EXCEEDED")
        assert document["detail"] == "Ask sales for “more”."
        assert document["violated-policies"] == ["tenant-10m"]
        assert int(fields["Retry-After"]) == document["retry_after"] > 590
    record = (await gateway.records.wait(10))[-1]
    assert (record.status, record.response_source, record.limit_fired) == (402, "limit", "tenant-10m")


async def test_of_two_limits_that_refuse_the_longer_wait_decides_what_the_answer_is(
    start: Start, upstream: Upstream
) -> None:
    month = (
        "plan: {algorithm: fixed_window, limit: 3, window: 365d, key: [tenant], refusal: {status: 402, detail: Pay.}}"
    )
    both = (
        policies(upstream)
        .replace("  connection-1m:", f"  {month}\n  connection-1m:")
        .replace("10m, conn", "10m, plan, conn")
    )
    gateway = await start(both)
    for _ in range(3):
        assert (await call(gateway, "X-Tenant-Id: acme"))[0] == 200
    status, fields, body = await call(gateway, "X-Tenant-Id: acme")
    document = json.loads(body)
    assert (status, document["violated-policies"]) == (402, ["plan", "tenant-10m"])
    assert document["detail"] == "Pay. Limit tenant-10m (3 per 600 s) is used up."
    assert fields["Retry-After"] == fields["X-RateLimit-Reset"] == str(document["retry_after"])
    record = (await gateway.records.wait(4))[-1]
    assert (record.limit_fired, record.retry_after_s) == ("plan", document["retry_after"])


def test_a_refusal_takes_what_was_written_with_it_without_the_collector() -> None:
    """Each caller gets a new one whenever its wait has another number of seconds."""
    settings = SimpleNamespace(name="gw", headers=SimpleNamespace(problem_base="", proxy_status="on"))
    refusal = Refusal(RATE_LIMIT, "Limit w is used up.", retry_after_s=7)
    refusal.written = written = Written(SimpleNamespace(settings=settings), refusal, "c1")  # type: ignore[arg-type]
    written.head(refusal, len(written.body(refusal, "id-1")))
    del written
    with no_collector():
        del refusal
        assert gc.collect() == 0


async def test_a_call_that_every_limit_skips_is_told_from_one_without_limits(start: Start, upstream: Upstream) -> None:
    gateway = await start(policies(upstream, on_missing="skip"))
    await call(gateway)
    await call(gateway, "X-Tenant-Id: acme")
    assert [record.verdict for record in gateway.records.all] == ["skipped", "allowed"]
