"""Alerts: told when they begin and when they are over, not while they last."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from gateway.core.watching.alerts import Seen, Thresholds
from gateway.observe.log.logger import hear_events, hear_no_events
from gateway.observe.metrics.totals import Totals
from gateway.observe.reports.alerts import Alerts

THRESHOLDS = Thresholds(error_rate=0.5, auth_failures=2, calls=4, over_us=60_000_000)


@pytest.fixture
def heard() -> Iterator[list[tuple[Any, ...]]]:
    """(event, upstream, state) of what was told."""
    told: list[tuple[Any, ...]] = []

    def hear(line: Mapping[str, Any]) -> None:
        told.append((line["event_name"], line["upstream"], line["state"]))

    hear_events(hear)
    yield told
    hear_no_events(hear)


def test_raised_once_and_cleared_once(heard: list[tuple[Any, ...]]) -> None:
    seen: dict[str, Seen] = {}
    alerts = Alerts(THRESHOLDS, lambda: seen)
    alerts.look(0)
    seen |= {"crm": Seen(10, 6, 0), "erp": Seen(10, 0, 2), "fine": Seen(10, 1, 1)}
    alerts.look(2)
    assert heard == [("alert.error_rate", "crm", "raised"), ("alert.auth_failures", "erp", "raised")]
    alerts.look(30)
    alerts.look(61)
    assert len(heard) == 2, "still within a minute of it"
    alerts.look(63)
    assert heard[2:] == [("alert.error_rate", "crm", "cleared"), ("alert.auth_failures", "erp", "cleared")]


def test_what_counts_for_which_upstream() -> None:
    totals = Totals()
    for call in (
        ("crm", "upstream", 200, 200),
        ("crm", "upstream", 503, 503),
        ("crm", "upstream", 401, 401),
        ("crm", "gateway", 504, 0),
        ("crm", "gateway", 400, 0),
        ("crm", "limit", 429, 0),
        ("", "gateway", 503, 0),
    ):
        totals.count(*call, 2)
    for _ in range(2):  # 504 says nothing about who was asked
        totals.unanswered("crm", "timeout")
    assert totals.upstreams == totals.asked() == {"crm": Seen(8, 4, 2)}
    assert totals.outcomes["limit", 4] == 2


def test_calls_that_had_to_stay_here_raise_nothing(heard: list[tuple[Any, ...]]) -> None:
    """A pace that is full, or `max_sockets`, is of our own making: the upstream has not failed."""
    totals = Totals()
    alerts = Alerts(THRESHOLDS, totals.asked)
    alerts.look(0)
    totals.count("crm", "upstream", 200, 200, 3)
    for _ in range(9):
        totals.unanswered("crm", "busy")
    alerts.look(2)
    assert (totals.asked(), heard) == ({"crm": Seen(3, 0, 0)}, [])
    totals.unanswered("crm", "timeout")
    totals.count("crm", "upstream", 503, 503, 2)
    alerts.look(4)
    assert heard == [("alert.error_rate", "crm", "raised")]


async def test_nothing_to_look_for_nothing_looked_at() -> None:
    def seen() -> Mapping[str, Seen]:
        raise AssertionError

    alerts = Alerts(Thresholds(), seen)
    alerts.start()
    alerts.close()


def test_what_the_worker_before_had_raised_is_judged_when_enough_was_seen(heard: list[tuple[Any, ...]]) -> None:
    """Neither that nobody has called yet nor the first good call says that it is over."""
    told: list[tuple[str, str, bool]] = []
    before = {("alert.error_rate", "crm"): 0.0, ("alert.error_rate", "erp"): 0.0, ("alert.auth_failures", "gone"): 0.0}
    seen: dict[str, Seen] = {}
    alerts = Alerts(THRESHOLDS, lambda: seen, lambda *one: told.append(one))
    alerts.look(0)
    alerts.take_over(before, 0)
    seen |= {"crm": Seen(1, 0, 0), "erp": Seen(8, 8, 0), "new": Seen(8, 8, 0)}
    for now_s in (2, 58):
        alerts.look(now_s)
    assert heard == [("alert.error_rate", "new", "raised")]
    seen["erp"] = Seen(16, 16, 0)
    alerts.look(60)
    cleared = [("alert.error_rate", "crm", "cleared"), ("alert.auth_failures", "gone", "cleared")]
    assert sorted(heard[1:]) == sorted(cleared)
    assert told[1:4] == [(*one, True) for one in before], "from now on this worker judges them"
    assert sorted(told[4:]) == sorted((event, upstream, False) for event, upstream, _ in cleared)
    alerts.look(200)
    assert heard[3:] == [("alert.error_rate", "erp", "cleared"), ("alert.error_rate", "new", "cleared")]


async def test_what_was_raised_is_cleared_though_nothing_is_looked_for_any_more(heard: list[tuple[Any, ...]]) -> None:
    alerts = Alerts(Thresholds(), dict)
    alerts.start()
    alerts.take_over({("alert.error_rate", "crm"): 0.0}, 0)
    alerts.start()
    alerts.look(1e9)
    alerts.close()
    assert heard == [("alert.error_rate", "crm", "cleared")]


def test_workers_that_follow_each_other_soon_do_not_put_off_that_it_is_over(heard: list[tuple[Any, ...]]) -> None:
    """Of a minute they have waited 50 s already. What has been raised here is judged here."""
    seen: dict[str, Seen] = {}
    alerts = Alerts(THRESHOLDS, lambda: seen)
    alerts.look(0)
    seen["erp"] = Seen(8, 8, 0)
    alerts.look(1)
    raised = [("alert.error_rate", "erp", "raised")]
    before = {"crm": 50.0, "erp": 50.0}
    alerts.take_over({("alert.error_rate", name): waited_s for name, waited_s in before.items()}, 1)
    alerts.take_over({("alert.auth_failures", "crm"): 500.0}, 1)
    alerts.look(2)
    assert heard == raised
    alerts.look(4)
    assert heard[1:] == [("alert.auth_failures", "crm", "cleared")], "not by the first look"
    alerts.look(10)
    alerts.look(11)
    assert heard[2:] == [("alert.error_rate", "crm", "cleared")]
    alerts.look(61)
    assert heard[3:] == [("alert.error_rate", "erp", "cleared")]
