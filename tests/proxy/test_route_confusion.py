"""No spelling of a request gets past the route it belongs to: it is that route's, or it is refused."""

import pytest

from tests.app.conftest import Start
from tests.fakes.upstream import Upstream
from tests.proxy.test_identity import statuses

POLICIES = """
version: 1
limits:
  few: {algorithm: rolling_window, limit: 100000, window: 10m, key: []}
  many: {algorithm: rolling_window, limit: 100000, window: 10m, key: []}
upstreams: {up: {url: "%s"}}
routes:
  - {name: admin, match: {path_prefix: /admin/}, upstream: up, limits: [few]}
  - {name: host, match: {host: api.example, path_prefix: /h/}, upstream: up, limits: [few]}
  - {name: wild, match: {host: "*.wild.example", path_prefix: /h/}, upstream: up, limits: [few]}
  - {name: write, match: {path_prefix: /w/, method: [POST, DELETE]}, upstream: up, limits: [few]}
  - name: rest
    match: {path_prefix: /}
    upstream: up
    limits: [many]
    operations:
      - {name: batch, match: {path: /batch/run}, cost: {many: 10}}
      - {name: rest, match: {path: "/**"}, cost: {many: 1}}
"""
CASES = [
    # (request line and host, route that it must be counted by; "" = refused)
    ("GET /admin/x", "a", "admin"),
    ("GET /admin", "a", "admin"),
    ("GET /admin?x", "a", "admin"),
    ("GET http://a/admin/x", "a", "admin"),
    ("GET HTTP://A/admin/x", "a", "admin"),
    ("GET /admin//x", "a", "admin"),
    ("GET /admin/./x", "a", "admin"),
    ("GET /admin/x/../y", "a", "admin"),
    ("GET /admin/%2e/x", "a", "admin"),
    ("GET /adminx", "a", "rest"),
    ("GET /x/admin/y", "a", "rest"),
    ("GET /x?/../admin/", "a", "rest"),
    ("GET //admin/x", "a", ""),
    ("GET /./admin/x", "a", ""),
    ("GET /x/../admin/x", "a", ""),
    ("GET /x/..;/admin/x", "a", ""),
    ("GET /x/%2e%2e/admin/x", "a", ""),
    ("GET /x%2f..%2fadmin/x", "a", ""),
    ("GET /x\\..\\admin\\x", "a", ""),
    ("GET /%61dmin/x", "a", ""),
    ("GET /%2561dmin/x", "a", ""),
    ("GET /admin%2fx", "a", ""),
    ("GET /admin%5cx", "a", ""),
    ("GET /admin;v=1/x", "a", ""),
    ("GET /admin/../x", "a", ""),
    ("GET /admin/..%2fx", "a", ""),
    ("GET http://b/admin/x", "a", ""),
    ("GET http://a:80/admin/x", "a", "admin"),
    ("GET http://a:81/admin/x", "a", ""),
    ("GET http://a@b/admin/x", "a", ""),
    ("GET ftp://a/admin/x", "a", ""),
    ("GET admin/x", "a", ""),
    ("GET /admin/x#y", "a", ""),
    ("CONNECT a:443", "a", ""),
    ("OPTIONS *", "a", "rest"),
    ("GET *", "a", ""),
    ("GET /h/x", "api.example", "host"),
    ("GET /h/x", "API.Example", "host"),
    ("GET /h/x", "api.example:8080", "host"),
    ("GET /h/x", "api.example:", "host"),
    ("GET /h/x", "api.example.", "host"),
    ("GET /h/x", "api.example.:80", "host"),
    ("GET http://api.example./h/x", "api.example.", "host"),
    ("GET /h/x", "x.api.example", "rest"),
    ("GET /h/x", "a.wild.example", "wild"),
    ("GET /h/x", "A.b.Wild.Example.", "wild"),
    ("GET /h/x", "wild.example", "rest"),
    ("GET /h/x", "api.example@b", ""),
    ("GET /h/x", "api.example/h", ""),
    ("GET /h/x", "api.example b", ""),
    ("GET /h/x", "api.example\xe9", ""),
    ("POST /w/x", "a", "write"),
    ("post /w/x", "a", "write"),
    ("Delete /w/x", "a", "write"),
    ("GET /w/x", "a", "rest"),
    ("GET /w/x", "a", "rest"),
]
COSTS = [
    ("GET /batch/run", 10),
    ("get /batch/run", 10),
    ("GET /batch/%72un", 10),
    ("GET /batch//run", 10),
    ("GET /batch/./run", 10),
    ("GET /batch/run;v=1", 10),
    ("GET /x/../batch/run", 10),
    ("GET /batch%2frun", 10),
    ("GET /batch/runs", 1),
    ("GET /batch", 1),
]


def call(line: str, host: str) -> bytes:
    return f"{line} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode("latin-1")


@pytest.mark.parametrize("repeated", [False, True])
async def test_whose_route_it_is(start: Start, upstream: Upstream, repeated: bool) -> None:
    """Also when the same was asked before, and is remembered."""
    gateway = await start(POLICIES % upstream.url)
    for _ in range(1 + repeated):
        upstream.received.clear()
        gateway.records.all.clear()
        found = []
        for line, host, _ in CASES:
            [status] = await statuses(gateway, [call(line, host)])
            record = (await gateway.records.wait(len(found) + 1))[-1]
            counted = bool(record.ask.charges)
            assert counted == (status == 200)
            found.append((line, host, record.route if counted else ""))
        assert found == CASES
        assert len(upstream.received) == sum(1 for _, _, route in CASES if route)


async def test_what_an_operation_costs_however_it_is_spelled(start: Start, upstream: Upstream) -> None:
    gateway = await start(POLICIES % upstream.url)
    for number, (line, cost) in enumerate(COSTS, 1):
        assert await statuses(gateway, [call(line, "a")]) == [200]
        record = (await gateway.records.wait(number))[-1]
        assert [charge.cost for charge in record.ask.charges] == [cost], line
