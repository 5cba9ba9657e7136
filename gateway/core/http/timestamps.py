"""When a header field means: seconds, an epoch in seconds or milliseconds, a duration as Go writes it, an HTTP-date,
ISO 8601, as a time to wait.

What cannot be meant (negative, malformed, more than a year ahead) is None: a client that read an epoch as seconds has
waited for decades.
"""

import re
from datetime import UTC, datetime, timedelta

from gateway.core.units import DAY_US, HOUR_US, MINUTE_US, SECOND_US

MAX_WAIT_US = 366 * DAY_US
MAX_CHARS = 64

_NUMBER = re.compile(r"([0-9]{1,18})(?:\.([0-9]{1,18}))?", re.ASCII).fullmatch
_UNITS_US = {"h": HOUR_US, "m": MINUTE_US, "s": SECOND_US, "ms": 1000}
_PIECE = r"([0-9]{1,9})(?:\.([0-9]{1,9}))?(h|ms|m|s)"
_DURATION = re.compile(f"(?:{_PIECE})+", re.ASCII).fullmatch
_PIECES = re.compile(_PIECE, re.ASCII).findall
_EPOCH_S = 10**9  # 2001: numbers below are seconds to wait
_EPOCH_MS = 10**11  # the year 5138 in seconds: numbers from here on are milliseconds
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTH = "|".join(_MONTHS)
_CLOCK = r"(?P<h>\d\d):(?P<m>\d\d):(?P<s>\d\d)"
_HTTP_DATES = (  # RFC 9110 §5.6.7: the one to send, and two that must be understood
    rf"[a-z]{{3}}, (?P<day>\d\d?) (?P<month>{_MONTH}) (?P<year>\d{{4}}) {_CLOCK} (gmt|utc)",
    rf"[a-z]{{6,9}}, (?P<day>\d\d)-(?P<month>{_MONTH})-(?P<year>\d\d) {_CLOCK} gmt",
    rf"[a-z]{{3}} (?P<month>{_MONTH}) (?P<day>[ \d]\d) {_CLOCK} (?P<year>\d{{4}})",
)
_HTTP_DATE = tuple(re.compile(pattern, re.ASCII | re.IGNORECASE).fullmatch for pattern in _HTTP_DATES)
_LOOKS_LIKE_ISO = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d", re.ASCII | re.IGNORECASE).match
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def rfc3339(at_us: int) -> str:
    """Microseconds since 1970 for machines and people: in UTC, to the millisecond."""
    return datetime.fromtimestamp(at_us / 1e6, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def wait_us(text: str, now_us: int) -> int | None:
    """Microseconds from now until the time meant; 0 when it is past, None when nothing can be meant.

    now_us  epoch microseconds
    """
    text = text.strip(" \t")
    if len(text) > MAX_CHARS:
        return None
    number = _NUMBER(text)
    if number is not None:
        wait = _of_number(int(number[1]), number[2] or "", now_us)
    elif _DURATION(text):
        wait = sum(_amount_us(int(whole), part, _UNITS_US[unit]) for whole, part, unit in _PIECES(text))
    else:
        when = _http_date(text, now_us) or _iso_8601(text)
        if when is None:
            return None
        wait = (when - _EPOCH) // timedelta(microseconds=1) - now_us
    return None if wait > MAX_WAIT_US else max(0, wait)


def http_date_us(text: str, now_us: int) -> int | None:
    """The time that an HTTP-date names (RFC 9110 §5.6.7), in epoch microseconds; None for anything else.

    now_us  epoch microseconds: years of two digits are near it
    """
    when = _http_date(text.strip(" \t"), now_us) if len(text) <= MAX_CHARS else None
    return None if when is None else (when - _EPOCH) // timedelta(microseconds=1)


def http_date(at_us: int) -> str:
    """An HTTP-date in the form to send; of epoch microseconds, the fraction of a second left out."""
    when = _EPOCH + timedelta(seconds=at_us // SECOND_US)
    month = _MONTHS[when.month - 1].title()
    return f"{_DAYS[when.weekday()]}, {when.day:02} {month} {when.year:04} {when:%H:%M:%S} GMT"


class DateLine:
    """The `Date` field line of answers that are made here (RFC 9110 §6.6.1), formatted once a second."""

    def __init__(self) -> None:
        self._at_s = -1
        self._line = b""

    def at(self, now_s: int) -> bytes:
        """The `Date` line for `now_s`, in seconds since 1970; made once for each second."""
        if now_s != self._at_s:
            self._at_s, self._line = now_s, f"Date: {http_date(now_s * SECOND_US)}\r\n".encode("ascii")
        return self._line


def _of_number(whole: int, fraction: str, now_us: int) -> int:
    """By its size: seconds to wait, epoch seconds or epoch milliseconds. A fraction is rounded up."""
    amount_us = _amount_us(whole, fraction, 1000 if whole >= _EPOCH_MS else SECOND_US)
    return amount_us if whole < _EPOCH_S else amount_us - now_us


def _amount_us(whole: int, fraction: str, unit_us: int) -> int:
    parts: int = 10 ** len(fraction)
    return whole * unit_us - (-int(fraction or 0) * unit_us // parts)


def _http_date(text: str, now_us: int) -> datetime | None:
    for fits in _HTTP_DATE:
        found = fits(text)
        if found is not None:
            year = _year(found["year"], now_us)
            month = _MONTHS.index(found["month"].lower()) + 1
            return _moment(year, month, int(found["day"]), int(found["h"]), int(found["m"]), int(found["s"]))
    return None


def _year(digits: str, now_us: int) -> int:
    """Two digits that would lie more than 50 years ahead are of the century before (RFC 9110 §5.6.7)."""
    if len(digits) == 4:
        return int(digits)
    this_year = (_EPOCH + timedelta(microseconds=now_us)).year
    year = this_year - this_year % 100 + int(digits)
    return year - 100 if year > this_year + 50 else year


def _moment(year: int, month: int, day: int, hour: int, minute: int, second: int) -> datetime | None:
    """None for a day or time that does not exist; a leap second is the second before it."""
    try:
        return datetime(year, month, day, hour, minute, min(second, 59), tzinfo=UTC)
    except ValueError:
        return None


def _iso_8601(text: str) -> datetime | None:
    """Date and time; without an offset it is UTC."""
    if not _LOOKS_LIKE_ISO(text):
        return None
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return None
    return when if when.tzinfo is not None else when.replace(tzinfo=UTC)
