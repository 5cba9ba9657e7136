"""Concurrency: at most `quota` slots taken at a time.

A call takes `cost` slots under its lease, and gives them back when its body has ended. If its gateway dies, the slots
come back by themselves `window_us` after they were taken or last renewed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from gateway.core.limits import Limit
from gateway.core.units import SECOND_US

LOOK_AGAIN_US = SECOND_US
"""Nobody knows when a running call will end: a refused caller is asked to try again in a second."""


def slots(lease: str, cost: int) -> Iterator[str]:
    """The names of a lease's slots: the lease itself, then `lease#2`, `lease#3`, …"""
    yield lease
    for number in range(2, cost + 1):
        yield f"{lease}#{number}"


@dataclass(frozen=True, slots=True)
class Leases:
    """Slot name to the time at which the slot comes back by itself. Past times count as free."""

    expires_us: Mapping[str, int] = field(default_factory=dict)

    def settled(self, limit: Limit, now_us: int) -> "Leases":
        """No lease lasts longer than a lease taken now: holds after a clock step, and when the lease time is cut."""
        latest_us = now_us + limit.window_us
        if all(time_us <= latest_us for time_us in self.expires_us.values()):
            return self
        return Leases({slot: min(time_us, latest_us) for slot, time_us in self.expires_us.items()})

    def present(self, limit: Limit, now_us: int) -> tuple[int, int, int]:
        """`reset_us` is when the last lease would lapse, `more_us` at most a second: both if no lease is renewed."""
        taken = self._taken(now_us)
        if not taken:
            return limit.quota, 0, 0
        reset_us = max(taken.values()) - now_us
        return max(0, limit.quota - len(taken)), reset_us, min(reset_us, LOOK_AGAIN_US)

    def retry_us(self, limit: Limit, cost: int, now_us: int) -> int:
        return 0 if len(self._taken(now_us)) + cost <= limit.quota else LOOK_AGAIN_US

    def charged(self, limit: Limit, cost: int, now_us: int, lease: str) -> "Leases":
        return Leases(self._taken(now_us) | dict.fromkeys(slots(lease, cost), now_us + limit.window_us))

    def released(self, cost: int, lease: str) -> "Leases":
        """Without the slots of `lease`; unknown ones do not matter."""
        gone = set(slots(lease, cost))
        return Leases({slot: time_us for slot, time_us in self.expires_us.items() if slot not in gone})

    def renewed(self, limit: Limit, cost: int, now_us: int, lease: str) -> "Leases":
        """The slots of `lease` last `window_us` from now. A slot that has lapsed stays so: it may be taken again."""
        held = self._taken(now_us).keys() & set(slots(lease, cost))
        return Leases({**self.expires_us, **dict.fromkeys(held, now_us + limit.window_us)})

    def _taken(self, now_us: int) -> dict[str, int]:
        return {slot: time_us for slot, time_us in self.expires_us.items() if time_us > now_us}
