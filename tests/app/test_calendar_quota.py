"""Quotas by the calendar as callers see them, while the store's clock goes through days and months of every length."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from gateway.store.local.store import LocalStore
from gateway.store.scripts.admissions import Admissions
from tests.app.conftest import Running, Start
from tests.app.test_rate_limit_answers import parse
from tests.fakes.upstream import Upstream

POLICIES = """
version: 1
keys:
  tenant: {from: header, name: X-Tenant-Id, on_missing: reject}
limits:
  quota: {algorithm: fixed_window, limit: 2, window: %s, timezone: %s, key: [tenant]}
upstreams:
  up: {url: "%s"}
routes:
  - {name: all, match: {path_prefix: /}, upstream: up, limits: [quota]}
"""
HOUR_S = 3600


class Quota:
    """A gateway whose store lives at a time that the test sets."""

    def __init__(self, running: Running, zone: str) -> None:
        self.running = running
        self.zone = ZoneInfo(zone)
        self.now_us = 0
        running.gateway.clock = lambda: self.now_us / 1e6

    def at(self, local: str) -> "Quota":
        self.now_us = round(datetime.fromisoformat(local).replace(tzinfo=self.zone).timestamp() * 1e6)
        return self

    def after(self, seconds: float) -> "Quota":
        self.now_us += round(seconds * 1e6)
        return self

    async def call(self, tenant: str = "acme") -> tuple[int, dict[str, str]]:
        request = f"GET /x HTTP/1.1\r\nHost: a\r\nX-Tenant-Id: {tenant}\r\nConnection: close\r\n\r\n"
        status, fields, _ = parse(await self.running.raw(request.encode()))
        return status, fields


Begin = Callable[[str, str], Awaitable[Quota]]


@pytest.fixture(params=["local", "server"])
def begin(request: pytest.FixtureRequest, start: Start, upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> Begin:
    """`await begin(unit, zone)`. The scripts in the server are told the time, as they may be for tests."""

    async def begun(unit: str, zone: str) -> Quota:
        quota = Quota(await start(POLICIES % (unit, zone, upstream.url)), zone)
        if request.param == "local":
            await quota.running.gateway.store.close()
            quota.running.gateway.store = LocalStore(lambda: quota.now_us)
        write = Admissions.write

        def at_that_time(*what: Any, **named: Any) -> Any:
            return write(*what, **{**named, "now_us": quota.now_us})

        monkeypatch.setattr(Admissions, "write", at_that_time)
        return quota

    return begun


@pytest.mark.parametrize(
    ("unit", "zone", "now", "lasts_h", "left_h"),
    [
        ("day", "Europe/Berlin", "2026-11-21T18:00", 24, 6),
        ("day", "Europe/Berlin", "2026-03-29T00:30", 23, 22.5),
        ("day", "Europe/Berlin", "2026-10-25T00:30", 25, 24.5),
        ("day", "America/New_York", "2026-11-01T12:00", 25, 12),
        ("day", "Asia/Kathmandu", "2026-06-01T00:00", 24, 24),
        ("week", "Europe/Berlin", "2026-03-28T00:00", 7 * 24 - 1, 47),
        ("month", "Europe/Berlin", "2026-02-28T23:00", 28 * 24, 1),
        ("month", "Europe/Berlin", "2026-03-01T00:00", 31 * 24 - 1, 31 * 24 - 1),
        ("month", "UTC", "2028-02-29T23:00", 29 * 24, 1),
    ],
)
async def test_a_quota_lasts_until_its_day_or_month_ends_there(
    begin: Begin, unit: str, zone: str, now: str, lasts_h: float, left_h: float
) -> None:
    quota = await begin(unit, zone)
    left_s = round(left_h * HOUR_S)
    statuses = [await quota.at(now).call() for _ in range(3)]
    assert [status for status, _ in statuses] == [200, 200, 429]
    refused = statuses[2][1]
    assert refused["Retry-After"] == str(left_s)
    assert refused["RateLimit-Policy"] == f'"quota";q=2;w={round(lasts_h * HOUR_S)}'
    assert refused["RateLimit"] == f'"quota";r=0;t={left_s}'
    assert (await quota.call("globex"))[0] == 200
    assert (await quota.after(left_s - 1).call())[0] == 429
    assert (await quota.after(1).call())[0] == 200, "who waits as long as told gets in"


async def test_days_all_over_the_year_admit_the_quota_and_not_one_more(begin: Begin) -> None:
    """All of it in each day's last ten seconds, and nothing is owed to the next day."""
    quota = await begin("day", "Europe/Berlin")
    for month in range(1, 13):
        for day in (1, 25, 27):
            quota.at(f"2026-{month:02}-{day:02}T23:59:50")
            assert [(await quota.call())[0] for _ in range(3)] == [200, 200, 429]
            assert (await quota.after(10).call())[0] == 200


async def test_the_hour_that_comes_twice_belongs_to_one_day(begin: Begin) -> None:
    quota = await begin("day", "Europe/Berlin")
    assert (await quota.at("2026-10-25T02:30").call())[0] == 200
    assert (await quota.after(HOUR_S).call())[0] == 200, "02:30 again"
    status, fields = await quota.call()
    assert (status, fields["Retry-After"]) == (429, str(round(21.5 * HOUR_S)))
