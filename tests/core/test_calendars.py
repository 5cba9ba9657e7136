"""Windows by the calendar: where they begin and how long they are, whatever clocks do to a night."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.core.ask import Ask
from gateway.core.calendars import Unit, borders_us, window_at
from gateway.core.headers import FieldWriter, used_up_sentence
from gateway.core.limits import Charge, Verdict
from tests.core.calendar_cases import DAY_US, HOUR_US, ZONES, at_us, by_calendar, calendar, zone
from tests.core.limit_cases import Partition, calls
from tests.fakes.examples import as_many

FEW = settings(max_examples=as_many(150), deadline=None)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
units, zones = st.sampled_from(Unit), st.sampled_from(ZONES)
moments = st.integers(at_us("2006-01-01"), at_us("2036-01-01"))


def window(unit: Unit, name: str, now_us: int) -> tuple[int, int]:
    return window_at(borders_us(calendar(unit, name), now_us), now_us)


@pytest.mark.parametrize(
    ("unit", "name", "inside", "begin", "hours"),
    [
        (Unit.DAY, "UTC", "2026-03-29T12:00", "2026-03-29T00:00", 24),
        (Unit.DAY, "Europe/Berlin", "2026-03-28T12:00", "2026-03-28T00:00", 24),
        (Unit.DAY, "Europe/Berlin", "2026-03-29T12:00", "2026-03-29T00:00", 23),
        (Unit.DAY, "Europe/Berlin", "2026-10-25T12:00", "2026-10-25T00:00", 25),
        (Unit.DAY, "Australia/Lord_Howe", "2026-04-05T12:00", "2026-04-05T00:00", 24.5),
        (Unit.DAY, "Australia/Lord_Howe", "2026-10-04T12:00", "2026-10-04T00:00", 23.5),
        (Unit.DAY, "Africa/Cairo", "2026-04-24T12:00", "2026-04-24T01:00", 23),
        (Unit.DAY, "America/Havana", "2024-11-03T12:00", "2024-11-03T00:00", 25),
        (Unit.DAY, "Pacific/Apia", "2011-12-29T12:00", "2011-12-29T00:00", 24),
        (Unit.DAY, "Pacific/Apia", "2011-12-31T12:00", "2011-12-31T00:00", 24),
        (Unit.WEEK, "UTC", "2026-11-22T23:59", "2026-11-16T00:00", 168),
        (Unit.WEEK, "Europe/Berlin", "2026-03-29T23:00", "2026-03-23T00:00", 167),
        (Unit.WEEK, "Europe/Berlin", "2026-10-25T23:00", "2026-10-19T00:00", 169),
        (Unit.MONTH, "UTC", "2023-02-28T23:59", "2023-02-01T00:00", 28 * 24),
        (Unit.MONTH, "UTC", "2024-02-29T23:59", "2024-02-01T00:00", 29 * 24),
        (Unit.MONTH, "UTC", "2100-02-28T23:59", "2100-02-01T00:00", 28 * 24),
        (Unit.MONTH, "UTC", "2026-04-30T23:59", "2026-04-01T00:00", 30 * 24),
        (Unit.MONTH, "UTC", "2026-12-31T23:59", "2026-12-01T00:00", 31 * 24),
        (Unit.MONTH, "Europe/Berlin", "2026-03-31T23:59", "2026-03-01T00:00", 31 * 24 - 1),
        (Unit.MONTH, "Europe/Berlin", "2026-10-31T23:59", "2026-10-01T00:00", 31 * 24 + 1),
        (Unit.MONTH, "America/New_York", "2026-11-30T23:59", "2026-11-01T00:00", 30 * 24 + 1),
    ],
)
def test_known_windows(unit: Unit, name: str, inside: str, begin: str, hours: float) -> None:
    begin_us, length_us = at_us(begin, name), round(hours * HOUR_US)
    for now_us in (at_us(inside, name), begin_us, begin_us + length_us - 1):
        assert window(unit, name, now_us) == (begin_us, length_us)
    assert window(unit, name, begin_us - 1)[0] < begin_us
    assert window(unit, name, begin_us + length_us)[0] == begin_us + length_us


def test_a_day_whose_first_minute_comes_twice_begins_once() -> None:
    """In Newfoundland clocks went from 00:01 back to 23:01: what came then is the new day all the same."""
    begin_us = at_us("2010-11-07T00:00", "America/St_Johns")
    for now_us in (begin_us, begin_us + 60_000_000, begin_us + HOUR_US, begin_us + 12 * HOUR_US):
        assert window(Unit.DAY, "America/St_Johns", now_us) == (begin_us, 25 * HOUR_US)


@FEW
@given(units, zones, moments)
@example(Unit.DAY, "Pacific/Apia", at_us("2011-12-30T10:00"))
def test_windows_follow_one_another_without_gap(unit: Unit, name: str, now_us: int) -> None:
    begin_us, length_us = window(unit, name, now_us)
    assert begin_us <= now_us < begin_us + length_us
    assert window(unit, name, begin_us) == window(unit, name, begin_us + length_us - 1) == (begin_us, length_us)
    assert window(unit, name, begin_us + length_us)[0] == begin_us + length_us
    assert sum(window(unit, name, begin_us - 1)) == begin_us


@FEW
@given(units, zones, moments)
def test_windows_begin_when_the_local_date_changes(unit: Unit, name: str, now_us: int) -> None:
    def day_at(moment_us: int) -> datetime:
        return (EPOCH + timedelta(microseconds=moment_us)).astimezone(zone(name))

    begin, before = day_at(window(unit, name, now_us)[0]), day_at(window(unit, name, now_us)[0] - 1)
    assert begin.date() > before.date()
    assert unit is not Unit.WEEK or begin.weekday() == 0
    assert unit is not Unit.MONTH or begin.day == 1


@FEW
@given(units, zones, moments, moments)
def test_borders_of_another_time_are_as_good_up_to_two_windows_off(
    unit: Unit, name: str, now_us: int, wrong_us: int
) -> None:
    """Gateways send the borders around what they believe the time to be."""
    borders = borders_us(calendar(unit, name), wrong_us)
    assert list(borders) == sorted(set(borders))
    assert len(borders) in (5, 6)
    begin_us, length_us = window_at(borders, now_us)
    assert begin_us <= now_us < begin_us + length_us
    if borders[0] <= now_us < borders[-1]:
        assert (begin_us, length_us) == window(unit, name, now_us)


@pytest.mark.parametrize(("unit", "days"), [(Unit.DAY, 1), (Unit.WEEK, 7), (Unit.MONTH, 28)])
@pytest.mark.parametrize("name", ZONES)
def test_the_borders_reach_more_than_a_window_to_either_side(unit: Unit, days: int, name: str) -> None:
    for now_us in range(at_us("2026-01-01"), at_us("2027-01-01"), 7 * HOUR_US):
        first_us, *_, last_us = borders_us(calendar(unit, name), now_us)
        assert first_us <= now_us - 2 * days * DAY_US + HOUR_US
        assert last_us >= now_us + 2 * days * DAY_US - HOUR_US


@FEW
@given(units, zones, moments, calls)
def test_exactly_the_quota_of_each_window_is_admitted(
    unit: Unit, name: str, start_us: int, pattern: list[tuple[int, int]]
) -> None:
    """Calls come 20 minutes to 14 days apart, so that borders lie between them."""
    partition = Partition(by_calendar(unit, name), now_us=start_us)
    for wait, cost in pattern:
        verdict = partition.ask(cost, after_us=wait * HOUR_US // 3)
        begin_us, length_us = window(unit, name, partition.now_us)
        used = partition.used_in(begin_us, begin_us + length_us)
        assert used <= 5
        assert verdict.remaining == 5 - used
        assert verdict.reset_us == (begin_us + length_us - partition.now_us if used else 0)
        if not verdict.admitted:
            assert used + cost > 5
            assert not partition.would(cost, after_us=verdict.retry_us - 1).admitted
            assert partition.would(cost, after_us=verdict.retry_us).admitted


def test_after_a_backward_step_of_the_clock_nobody_is_blocked_longer_than_one_window() -> None:
    partition = Partition(by_calendar(), now_us=at_us("2026-03-31T12:00", "Europe/Berlin"))
    assert partition.ask(5).admitted
    partition.now_us = at_us("2026-03-29T12:00", "Europe/Berlin")
    assert partition.ask().retry_us == 12 * HOUR_US
    assert partition.ask(after_us=12 * HOUR_US).admitted


def lines(now: str, *verdict: int) -> dict[str, str]:
    asked = Ask([Charge(by_calendar(Unit.MONTH, quota=1000), "k", 1)])
    writer = FieldWriter(draft=True, legacy=True, epoch_reset=False)
    text = writer.lines(asked, [Verdict(bool(verdict[0]), *verdict[1:])], at_us(now, "Europe/Berlin")).decode()
    return dict(line.split(": ", 1) for line in text.splitlines())


def test_fields_say_how_long_the_present_window_is() -> None:
    assert lines("2026-02-10", 1, 999, 1, 1, 0)["RateLimit-Policy"] == f'"per-month";q=1000;w={28 * 86_400}'
    assert lines("2026-03-10", 1, 999, 1, 1, 0)["RateLimit-Policy"] == f'"per-month";q=1000;w={31 * 86_400 - 3600}'
    refused = lines("2026-10-31", 0, 0, DAY_US, DAY_US, DAY_US)
    assert (refused["RateLimit"], refused["X-RateLimit-Reset"]) == ('"per-month";r=0;t=86400', "86400")


def test_the_same_caller_is_told_the_length_of_each_window() -> None:
    asked = Ask([Charge(by_calendar(Unit.MONTH), "k", 1)])
    writer = FieldWriter(draft=True, legacy=False, epoch_reset=False)
    texts = [writer.lines(asked, [Verdict(True, 4, 1, 1, 0)], at_us(day)) for day in ("2026-02-10", "2026-04-10")]
    assert [b"w=2419200" in texts[0], b"w=2592000" in texts[1]] == [True, True]


def test_the_sentence_names_the_unit_and_the_zone() -> None:
    assert used_up_sentence(by_calendar(Unit.MONTH)) == "Limit per-month (5 per month, Europe/Berlin) is used up."


def test_a_calendar_says_what_it_is() -> None:
    assert str(calendar(Unit.MONTH, "Europe/Berlin")) == "month, Europe/Berlin"
