"""Windows of the calendar: days, weeks and months of a time zone, as long as that zone's clocks make them.

A window begins at local midnight. Where clocks skip that midnight, it begins when they do; where clocks show it twice,
the first time. So a day has 23, 24 or 25 hours (half an hour more or less in a few places), and no moment belongs to
two windows, or to none.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from enum import StrEnum
from functools import lru_cache

from gateway.core.units import DAY_US

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_AROUND = range(-2, 4)


class Unit(StrEnum):
    """Which windows. Weeks begin on Monday (ISO 8601)."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"


USUAL_US = {Unit.DAY: DAY_US, Unit.WEEK: 7 * DAY_US, Unit.MONTH: 31 * DAY_US}
"""How long a window of each unit is, when the clocks are left alone: a month at most."""


@dataclass(frozen=True, slots=True)
class Calendar:
    """The windows of one unit in one time zone."""

    unit: Unit
    zone: tzinfo

    def __str__(self) -> str:
        return f"{self.unit}, {self.zone}"


def borders_us(calendar: Calendar, about_us: int) -> tuple[int, ...]:
    """Where the window around this moment begins and ends, and the two windows before and after it; rising.

    A window that a zone skipped altogether (Samoa's 30 December 2011) is none, and missing.
    """
    local = (_EPOCH + timedelta(microseconds=about_us)).astimezone(calendar.zone).date()
    return _borders_us(calendar, _first_day(calendar.unit, local, 0))


def window_at(borders: Sequence[int], now_us: int) -> tuple[int, int]:
    """(begin, length) of the window in which a moment lies; beyond the borders the outermost window repeats."""
    at = min(max(bisect_right(borders, now_us), 1), len(borders) - 1)
    begin_us, length_us = borders[at - 1], borders[at] - borders[at - 1]
    return now_us - (now_us - begin_us) % length_us, length_us


@lru_cache(maxsize=256)
def _borders_us(calendar: Calendar, day: date) -> tuple[int, ...]:
    firsts = {_first_day(calendar.unit, day, ahead) for ahead in _AROUND}
    return tuple(sorted({_midnight_us(first, calendar.zone) for first in firsts}))


def _first_day(unit: Unit, day: date, ahead: int) -> date:
    """The first day of the window so many windows after that of `day`."""
    if unit is Unit.DAY:
        return day + timedelta(days=ahead)
    if unit is Unit.WEEK:
        return day + timedelta(days=7 * ahead - day.weekday())
    years, month = divmod(day.month - 1 + ahead, 12)
    return date(day.year + years, month + 1, 1)


def _midnight_us(day: date, zone: tzinfo) -> int:
    """PEP 495: with fold=0 the first of two; a skipped one is read by the clock as it was before."""
    return (datetime.combine(day, time(), zone) - _EPOCH) // _MICROSECOND
