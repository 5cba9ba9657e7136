"""Timestamps of log lines: RFC 3339, UTC, always six digits of microseconds."""

import time


class Clock:
    """Wall-clock text. The part down to the second is kept, for many lines share it."""

    def __init__(self) -> None:
        self._second = -1
        self._text = ""

    def now(self) -> str:
        """`2026-11-21T05:30:00.123456Z`"""
        now = time.time()
        second = int(now)
        if second != self._second:
            self._text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._second = second
        return f"{self._text}.{int((now - second) * 1_000_000):06d}Z"
