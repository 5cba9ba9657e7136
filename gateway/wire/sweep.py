"""Deadlines for many sockets with one timer.

A timer handle per call and phase costs more than the call's bookkeeping. Here each holder keeps a `deadline` (a plain
float that moves as phases change) and one periodic sweep looks for those that have passed; a deadline is noticed
at most `tick_s` late.

A sweep that itself comes late (`HELD_UP_S`) looks at the sockets before it ends anything.
"""

import asyncio
from typing import Protocol

from gateway.waiting import HELD_UP_S


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
        self._due_s = 0.0

    def add(self, member: Expiring) -> None:
        """Watch a member from now on. Idempotent."""
        self._members.add(member)
        if self._timer is None:
            self._sweep_later()

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

    def _sweep_later(self) -> None:
        self._due_s = self._loop.time() + self._tick_s
        self._timer = self._loop.call_later(self._tick_s, self._sweep)

    def _sweep(self) -> None:
        self._timer = None
        if self._loop.time() - self._due_s < HELD_UP_S:
            self._end_overdue()
        else:  # two turns of the loop have one look at the sockets between them
            self._loop.call_soon(self._loop.call_soon, self._end_overdue)

    def _end_overdue(self) -> None:
        now = self._loop.time()
        try:
            for member in [m for m in self._members if m.deadline < now]:
                member.expired()
        finally:  # one that fails must not end the deadlines of all others
            if self._members and self._timer is None:
                self._sweep_later()
