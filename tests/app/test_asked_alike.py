"""A caller is asked the same wherever routes say the same: there is one ask for all of them. Every call is known by its
own route nevertheless."""

import json
from pathlib import Path

from gateway.callers import Callers
from gateway.observe.log.access import AccessLog
from gateway.observe.log.logger import envelope
from gateway.observe.log.writer import writer_for
from gateway.settings import Logging, Settings
from tests.app.conftest import Running, Start
from tests.fakes.upstream import Upstream

POLICIES = """
version: 1
keys: {tenant: {from: header, name: X-Tenant-Id, on_missing: anonymous}}
limits:
  some: {algorithm: rolling_window, limit: 4, window: 10m, key: [tenant]}
  more: {algorithm: token_bucket, rate: 60, per: 1m, key: [tenant]}
upstreams: {up: {url: "%s"}}
routes:
  - {name: a, match: {path_prefix: /a}, upstream: up, limits: [some]}
  - {name: b, match: {path_prefix: /b}, upstream: up, limits: [some]}
  - {name: c, match: {path_prefix: /c}, upstream: up, limits: [some, more]}
"""


async def call(gateway: Running, path: str) -> int:
    fields = "Host: a\r\nX-Tenant-Id: acme\r\nConnection: close\r\n"
    return int((await gateway.raw(f"GET {path} HTTP/1.1\r\n{fields}\r\n".encode())).split()[1])


async def test_what_is_shared_does_not_say_on_which_route_a_call_was(
    start: Start, upstream: Upstream, tmp_path: Path
) -> None:
    gateway = await start(POLICIES % upstream.url)
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


async def test_routes_that_ask_something_else_have_asks_of_their_own(start: Start, upstream: Upstream) -> None:
    gateway = await start(POLICIES % upstream.url)
    policies, callers = gateway.gateway.policies, Callers()
    a, b, c = [callers.asked(policies, route, None, {"tenant": "acme"}) for route in policies.routes]
    assert a is b
    assert a is not c
    assert callers.asked(policies, policies.routes[0], None, {"tenant": "other"}) is not a
    assert len(callers) == 3
    callers.forget()
    assert len(callers) == 0
