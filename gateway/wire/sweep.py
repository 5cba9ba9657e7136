"""Deadlines for many sockets with one timer.

A timer handle per call and phase costs more than the call's bookkeeping. Here each holder keeps a `deadline` (a plain
float that moves as phases change) and one periodic sweep looks for those that have passed; a deadline is noticed
at most `tick_s` late.
"""

import asyncio
from typing import Protocol


class Expiring(Protocol):
    """Something with a deadline: `loop.time()` seconds, or infinity for none."""

    deadline: float

    def expired(self) -> None:
        """The deadline has passed. Called once per sweep until the deadline moves or the holder is removed."""


class Sweeper:
    """Calls `expired()` of every member whose deadline has passed. Runs only while it has members."""

    def __init__(self, loop: asyncio.AbstractEventLoop, tick_s: float) -> None:
        self._loop = loop
        self._tick_s = tick_s
        self._members: set[Expiring] = set()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, member: Expiring) -> None:
        """Watch a member from now on. Idempotent."""
        self._members.add(member)
        if self._timer is None:
            self._timer = self._loop.call_later(self._tick_s, self._sweep)

    def remove(self, member: Expiring) -> None:
        """Stop watching. Idempotent."""
        self._members.discard(member)

    def __len__(self) -> int:
        return len(self._members)

    def close(self) -> None:
        """Stop the timer and forget everybody."""
        self._members.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _sweep(self) -> None:
        self._timer = None
        now = self._loop.time()
        try:
            for member in [m for m in self._members if m.deadline < now]:
                member.expired()
        finally:  # one that fails must not end the deadlines of all others
            if self._members and self._timer is None:
                self._timer = self._loop.call_later(self._tick_s, self._sweep)
