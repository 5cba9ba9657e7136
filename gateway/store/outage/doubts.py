"""A store that is there and yet cannot decide some calls: its user lacks the right to a command that a script needs.

Those calls are decided without it, one by one, while it goes on to decide the others. That is told once, and not at
every call; and it is over when it decides again what it could not.
"""

from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any, cast

from gateway.core.ask import Ask, Kind
from gateway.core.limits import Decision
from gateway.store import Store, StoreDown

CALM_S = 10.0
"""For so long it has to have failed nobody who is asked the same: one way through a script needs less than another."""
FORGOTTEN_S = 600.0
"""What nobody asks any more, after a reload perhaps, is no trouble any more."""


class Doubts:
    """In the place of the store while there are any: looks at each of its decisions.

    use   makes calls be decided by this store from now on
    tell  told of `store.degraded` and `store.recovered`, once each
    """

    def __init__(
        self,
        store: Store,
        use: Callable[[Store], None],
        tell: Callable[[str, Mapping[str, object]], None],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._store = store
        self._use = use
        self._tell = tell
        self._clock = clock
        self._failed_at: dict[Kind, float] = {}
        self._began = 0.0
        self._detail = ""

    def __bool__(self) -> bool:
        return bool(self._failed_at)

    def status(self) -> dict[str, object]:
        """As the status of a store that is away."""
        return {"down_s": round(self._clock() - self._began, 3), "reason": "script", "detail": self._detail}

    def in_words(self) -> str:
        """`status` for people, in a line."""
        return f"does not decide all calls for {self._clock() - self._began:.0f} s (script: {self._detail})"

    def note(self, kind: Kind, down: StoreDown) -> None:
        """A call of this kind could not be decided."""
        now, new = self._clock(), not self._failed_at
        self._failed_at[kind] = now
        self._use(cast("Store", self))
        if new:
            self._began, self._detail = now, down.detail
            self._tell("store.degraded", {"kind": "script", "detail": down.detail})

    def forget(self) -> None:
        """The store has gone altogether: that is told instead."""
        self._failed_at.clear()

    async def admit(self, ask: Ask, lease: str) -> Decision:
        """See `Store.admit`."""
        decision: Decision = await self._store.admit(ask, lease)
        if decision.admitted and self._failed_at:
            self._look(ask.kind)
        return decision

    def _look(self, kind: Kind) -> None:
        """It decides this kind of call, at least now."""
        now = self._clock()
        for other, failed_at in tuple(self._failed_at.items()):
            if now - failed_at >= (CALM_S if other is kind else FORGOTTEN_S):
                del self._failed_at[other]
        if not self._failed_at:
            self._use(self._store)
            self._tell("store.recovered", {"down_s": round(now - self._began, 3)})

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)
