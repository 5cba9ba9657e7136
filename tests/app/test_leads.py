"""Lines that begin as others did lead where those led, as long as the policies are the same, and are not looked into
for ever."""

import asyncio

import pytest

from gateway import identify, leads
from gateway.core.routing.resolve import resolve
from tests.app.conftest import Running, Start
from tests.fakes.upstream import Upstream

POLICIES = """
version: 1
keys: {tenant: {from: header, name: X-Tenant-Id, on_missing: anonymous}}
limits: {some: {algorithm: rolling_window, limit: 100000, window: 10m, key: [tenant]}}
upstreams: {up: {url: "%s"}}
routes:
  - {name: item, match: {path: "/api/items/{id}"}, upstream: up, limits: [some]}
  - {name: %s, match: {path_prefix: /}, upstream: up, limits: [some]}
"""


TWO = """
version: 1
keys: {tenant: {from: header, name: X-Tenant-Id, on_missing: anonymous}}
limits: {some: {algorithm: rolling_window, limit: 100000, window: 10m, key: [tenant]}}
upstreams: {up: {url: "%s"}}
routes:
  - {name: read, match: {path_prefix: /one/, method: GET}, upstream: up, limits: [some]}
  - {name: rest, match: {path_prefix: /}, upstream: up, limits: [some]}
"""


async def call(gateway: Running, targets: list[str], method: str = "GET", field: str = "") -> list[tuple[str, str]]:
    """(route, path that the upstream was asked for) of each, one after the other."""
    before = len(gateway.records.all)
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    for target in targets:
        writer.write(f"{method} {target} HTTP/1.1\r\nHost: a\r\n{field}\r\n".encode())
        await reader.readuntil(b"\r\n\r\nok")
    writer.close()
    return [(one.route, one.target) for one in (await gateway.records.wait(before + len(targets)))[before:]]


@pytest.fixture
def resolved(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The targets that were resolved by themselves."""
    found: list[str] = []

    def noting(policies, head, http_host):  # type: ignore[no-untyped-def]
        found.append(head.target)
        return resolve(policies, head, http_host)

    monkeypatch.setattr(identify, "resolve", noting)
    return found


async def test_lines_that_begin_alike_are_resolved_once_or_twice(
    start: Start, upstream: Upstream, resolved: list[str]
) -> None:
    gateway = await start(POLICIES % (upstream.url, "rest"))
    targets = [f"/api/orders/{number}?x=/{number}" for number in range(20)]
    assert await call(gateway, targets) == [("rest", target) for target in targets]
    assert resolved == targets[:3]  # the fields are remembered from the second time on, and the lead from the third
    assert [one.target for one in upstream.received] == targets


async def test_lines_that_begin_differently_have_leads_of_their_own(
    start: Start, upstream: Upstream, resolved: list[str]
) -> None:
    gateway = await start(TWO % upstream.url)
    for number in range(10):
        for path, route in ("/one/x/", "read"), ("/two/x/", "rest"), ("/one/y/", "read"):
            assert await call(gateway, [f"{path}{number}"]) == [(route, f"{path}{number}")]
    assert len(resolved) == 5  # two until the fields are remembered; one of /one/, two of /two/


async def test_a_lead_says_nothing_of_other_methods_and_fields(start: Start, upstream: Upstream) -> None:
    gateway = await start(TWO % upstream.url)
    for number in range(24):
        method, route = (("GET", "read"), ("DELETE", "rest"))[number % 2]
        tenant = "ab"[number // 2 % 2]
        found = await call(gateway, [f"/one/x/{number}"], method, f"X-Tenant-Id: {tenant}\r\n")
        assert found == [(route, f"/one/x/{number}")]
        assert gateway.records.all[-1].tenant == tenant
        assert upstream.received[-1].fields("X-Tenant-Id") == [tenant]


async def test_a_lead_says_nothing_of_other_policies(start: Start, upstream: Upstream) -> None:
    gateway = await start(POLICIES % (upstream.url, "rest"))
    other = await start(POLICIES % (upstream.url, "new"))
    assert {route for route, _ in await call(gateway, [f"/api/orders/{n}" for n in range(10)])} == {"rest"}
    gateway.gateway.policies = other.gateway.policies
    await gateway.gateway.upstreams.load(gateway.gateway.policies)
    gateway.gateway.callers.forget()
    assert {route for route, _ in await call(gateway, [f"/api/orders/{n}" for n in range(10, 20)])} == {"new"}


async def test_where_there_is_no_lead_it_is_not_looked_for_again_and_again(
    start: Start, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = await start(POLICIES % (upstream.url, "rest"))
    tries = 0
    real = leads.lead

    def counting(*given):  # type: ignore[no-untyped-def]
        nonlocal tries
        tries += 1
        return real(*given)

    monkeypatch.setattr(leads, "lead", counting)
    found = await call(gateway, [f"/api/items/{number}" for number in range(40)])
    assert {route for route, _ in found} == {"item"}
    assert tries == leads.MOST_TRIES
