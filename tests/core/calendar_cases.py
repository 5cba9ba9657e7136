"""Time zones in which something happens to midnight, and moments around which it does."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from gateway.core.calendars import USUAL_US, Calendar, Unit
from gateway.core.limits import Algorithm, Limit

HOUR_US = 3600 * 1_000_000
DAY_US = 24 * HOUR_US
ZONES = (
    "UTC",
    "Europe/Berlin",  # 23 and 25 hours
    "America/New_York",
    "Australia/Lord_Howe",  # half an hour of daylight saving
    "Asia/Kathmandu",  # +05:45
    "Africa/Cairo",  # clocks skip midnight in spring
    "America/Havana",  # midnight comes twice in autumn
    "America/St_Johns",  # until 2011 clocks went back over midnight, a minute after it
    "Pacific/Apia",  # had no 30 December 2011
)


def zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def calendar(unit: Unit = Unit.DAY, name: str = "Europe/Berlin") -> Calendar:
    return Calendar(unit, zone(name))


def by_calendar(unit: Unit = Unit.DAY, name: str = "Europe/Berlin", quota: int = 5) -> Limit:
    return Limit(
        f"per-{unit}", Algorithm.FIXED_WINDOW, quota, USUAL_US[unit], ("tenant",), calendar=calendar(unit, name)
    )


def at_us(text: str, name: str = "UTC") -> int:
    """The moment that a clock in this zone shows as `2026-03-29T00:00`."""
    moment = datetime.fromisoformat(text).replace(tzinfo=zone(name))
    return round(moment.astimezone(UTC).timestamp()) * 1_000_000
