"""A caller is asked the same wherever routes say the same: there is one ask for all of them. Every call is known by its
own route nevertheless."""

import json
from pathlib import Path

import pytest

from gateway.callers import Callers
from gateway.core.ask import Ask
from gateway.observe.log.access import AccessLog
from gateway.observe.log.logger import envelope
from gateway.observe.log.writer import writer_for
from gateway.policy import check
from gateway.settings import Logging, Settings
from tests.app.conftest import Running, Start
from tests.fakes.upstream import Upstream

POLICIES = """
version: 1
keys:
  tenant: {from: header, name: X-Tenant-Id, on_missing: anonymous}
  user: {from: header, name: X-User, on_missing: anonymous}
limits:
  some: {algorithm: rolling_window, limit: 4, window: 10m, key: [tenant]}
  else: {algorithm: token_bucket, rate: 60, per: 1m, key: [tenant]}
  off: {algorithm: token_bucket, rate: 60, per: 1m, key: [tenant], mode: off}
breakers:
  vendor: {key: [tenant], window: 1m, minimum_calls: 20, failure_rate: 50%, open_for: 30s}
  each: {key: [operation], window: 1m, minimum_calls: 20, failure_rate: 50%, open_for: 30s}
retries:
  twice: {attempts: 2}
upstreams:
  up: {url: "http://127.0.0.1:9"}
  other: {url: "http://127.0.0.1:9"}
routes:
  - {name: a, match: {path_prefix: /a}, upstream: up, limits: [some]}
  - {name: b, match: {path_prefix: /b}, THIS}
"""
SAME = "upstream: up, limits: [some]"
PARTS = {"tenant": "acme"}


def asks(folder: Path, other: str, *, operation: bool = False) -> tuple[Ask, Ask, Callers]:
    """What one caller is asked on route `a`, and on a `b` that is written like this, or on its only operation."""
    file = folder / "p.yaml"
    file.write_text(POLICIES.replace("THIS", other))
    report = check([file])
    policies = report.policies
    assert policies is not None, report.errors
    routes = {route.name: route for route in policies.routes}
    callers = Callers()
    one = callers.asked(policies, routes["a"], None, PARTS)
    of = routes["b"].operations[0] if operation else None
    two = callers.asked(policies, routes["b"], of, {part.name: "acme" for part in routes["b"].keys})
    assert isinstance(one, Ask)
    assert isinstance(two, Ask)
    return one, two, callers


@pytest.mark.parametrize(
    "other",
    [
        SAME,
        f"{SAME}, retry: twice",
        f"{SAME}, strip_prefix: /b",
        "upstream: up, limits: [some, off]",
    ],
)
def test_routes_that_ask_the_same_share_the_ask(other: str, tmp_path: Path) -> None:
    one, two, callers = asks(tmp_path, other)
    assert one is two
    assert len(callers) == 1
    callers.forget()
    assert len(callers) == 0


@pytest.mark.parametrize(
    "other",
    [
        "upstream: up, limits: [else]",
        "upstream: up, limits: [some, else]",
        "upstream: up",
        "upstream: other, limits: [some]",
        f"{SAME}, cost: {{some: 2}}",
        f"{SAME}, breaker: vendor",
        f"{SAME}, cost: {{some: {{from: response_header, name: X-Rows, reserve: 1}}}}",
        f"{SAME}, modules: {{cache: {{ttl: 5m, match: {{path: /b}}, vary_by: [tenant]}}}}",
    ],
)
def test_routes_that_ask_something_else_have_asks_of_their_own(other: str, tmp_path: Path) -> None:
    one, two, callers = asks(tmp_path, other)
    assert one is not two
    assert len(callers) == 2


def test_operations_have_asks_of_their_own(tmp_path: Path) -> None:
    """Calls of a connection are counted by operation, and breakers may be, too."""
    one, two, _ = asks(tmp_path, f"{SAME}, operations: [{{name: read, match: {{method: GET}}}}]", operation=True)
    assert one is not two
    assert one.charges == two.charges


async def call(gateway: Running, path: str) -> int:
    fields = "Host: a\r\nX-Tenant-Id: acme\r\nConnection: close\r\n"
    return int((await gateway.raw(f"GET {path} HTTP/1.1\r\n{fields}\r\n".encode())).split()[1])


async def test_what_is_shared_does_not_say_on_which_route_a_call_was(
    start: Start, upstream: Upstream, tmp_path: Path
) -> None:
    gateway = await start(POLICIES.replace("THIS", SAME).replace("http://127.0.0.1:9", upstream.url))
    paths = [f"/{name}/{number}" for number in range(4) for name in "ab"]
    access = str(tmp_path / "access.log")
    log = AccessLog(Logging(access=access, pretty=False), envelope(Settings(), worker=0))
    statuses = [await call(gateway, path) for path in paths]
    assert statuses == [200] * 4 + [429] * 4
    records = await gateway.records.wait(len(paths))
    assert len({id(one.ask) for one in records}) == 1
    for one in records:
        log.emit(one)
    writer_for(access).close()
    lines = [json.loads(line) for line in Path(access).read_text().splitlines()]
    assert [(line["route"], line["path"], line["status"]) for line in lines] == [
        (path[1], path, status) for path, status in zip(paths, statuses, strict=True)
    ]
