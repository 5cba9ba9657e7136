"""Concurrency slots of calls in flight: kept alive while the call lasts, given back at its end.

A slot expires by itself when nobody renews it, so a gateway that dies leaks nothing. One timer serves all calls.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from gateway.core.limits import Algorithm

if TYPE_CHECKING:
    from gateway.call import Call
    from gateway.store import Store
    from gateway.store.fallback import Fallback

TICK_S = 1.0
RENEW_AT = 3  # parts of a lease after which it is renewed


class Leases:
    """Calls that hold slots. `hold` when admitted, `give_back` when over."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._due: dict[Call, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._due)

    def hold(self, call: "Call") -> None:
        """Renew this call's slots until they are given back."""
        self._due[call] = self._loop.time() + _renew_after_s(call)
        if self._timer is None:
            self._timer = self._loop.call_later(TICK_S, self._renew)

    def give_back(self, call: "Call") -> None:
        """The call is over. Also for a call that never heard the answer: it may have been charged. Idempotent."""
        self._due.pop(call, None)
        _store_of(call).release(call.ask.charges, call.lease)

    def slots(self) -> Mapping[str, int]:
        """Slots held now, by limit."""
        asks = Counter(call.ask for call in self._due)
        slots: Counter[str] = Counter()
        for ask, count in asks.items():
            for limit, _, cost in ask.charges:
                if limit.algorithm is Algorithm.CONCURRENCY:
                    slots[limit.name] += cost * count
        return slots

    def close(self) -> None:
        """Stop renewing."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _renew(self) -> None:
        now = self._loop.time()
        for call, due in self._due.items():
            if due <= now:
                _store_of(call).renew(call.ask.charges, call.lease)
                self._due[call] = now + _renew_after_s(call)
        self._timer = self._loop.call_later(TICK_S, self._renew) if self._due else None


def _renew_after_s(call: "Call") -> float:
    shortest = min(c.limit.window_us for c in call.ask.charges if c.limit.algorithm is Algorithm.CONCURRENCY)
    return shortest / 1e6 / RENEW_AT


def _store_of(call: "Call") -> "Store | Fallback":
    """Where the slots were asked for: also before any answer came, that is the store."""
    gateway = call.gateway
    degraded = call.record.store == "local" and gateway.store.kind != "local"
    return gateway.fallback if degraded else gateway.store
