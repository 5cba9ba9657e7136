"""Numbers, shares and times for people."""

from datetime import UTC, datetime

from gateway.admin.page.markup import Html, element

NOTHING = "\u2013"
"""Stands where there is no value."""


def number(value: float) -> str:
    """With as many digits as mean something: `12,345`, `42.1`, `0.25`."""
    if value >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def whose(key: str) -> str:
    """The key of a counter or breaker; `*` is the one of those that count everybody together."""
    return "everybody" if key in ("", "*") else key


def share(part: float) -> str:
    """Of 1, in per cent. What is not nothing is never shown as 0, what is not all never as 100."""
    if 0 < part < 0.001:
        return "< 0.1 %"
    if 0.999 < part < 1:
        return "> 99.9 %"
    return f"{part * 100:.1f} %"


def milliseconds(value_ms: float) -> str:
    """`0.12 ms`, `250 ms`."""
    return f"{number(round(value_ms, 2))} ms"


def lasting(seconds: float) -> str:
    """`0.1 s`, `45 s`, `12 min`, `1 h`, `3 h 20 min`, `2 d 4 h`."""
    if 0 < seconds < 1:
        return f"{seconds:.3g} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, hours, days = whole // 60, whole // 3600, whole // 86_400
    if minutes < 60:
        return f"{minutes} min"
    large, small = (f"{hours} h", minutes % 60) if hours < 24 else (f"{days} d", hours % 24)
    unit = "min" if hours < 24 else "h"
    return f"{large} {small} {unit}" if small else large


def mebibytes(size_bytes: float) -> str:
    """`0.25 MiB`, `81 MiB`."""
    return f"{number(round(size_bytes / (1 << 20), 2))} MiB"


def moment(timestamp: object) -> Html:
    """An RFC 3339 time: the time of day in UTC, before today's with its date in the title."""
    text = str(timestamp or "")
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return element("span", text or "never")
    return element("time", at.strftime("%H:%M:%S"), datetime=text, title=at.strftime("%Y-%m-%d %H:%M:%S UTC"))


def moment_of(at: float) -> Html:
    """Seconds since 1970, to the minute."""
    when = datetime.fromtimestamp(at, UTC)
    return element("time", when.strftime("%H:%M"), datetime=when.isoformat(), title=when.strftime("%Y-%m-%d %H:%M UTC"))
