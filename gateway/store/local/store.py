"""The store inside the process: the core's own functions on a dictionary. Nobody else sees what it counts.

Used where no server can be had, and for a limit whose posture is `local` while the store is down.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import cast

from gateway.core import guards as core
from gateway.core.algorithms import Bucket, Leases, Log, State, Tally, state_for
from gateway.core.ask import Ask
from gateway.core.decision import Kept, decide_call, kept_for, units
from gateway.core.grant import MAX_GRANT_US, Grant, counted, under
from gateway.core.guards import Breaker, Change, Guard, Pausing, Report
from gateway.core.guards.breaker import Circuit
from gateway.core.guards.pause import Pause
from gateway.core.limits import Algorithm, Charge, Decision
from gateway.core.settlement import Correction, corrected
from gateway.store import Grants
from gateway.store.local.partitions import Partition, Partitions

_STARTED_NS = time.time_ns() - time.monotonic_ns()


def steady_us() -> int:
    """Microseconds since 1970 by the host's clock as it was when the process began; from then on it never steps."""
    return (_STARTED_NS + time.monotonic_ns()) // 1000


class LocalStore:
    """`gateway.store.Store` in memory. Not for use by several threads.

    Keeps at most `max_keys` partitions; see `Partitions` for which of them go.
    """

    kind = "local"

    def __init__(self, clock: Callable[[], int] = steady_us, max_keys: int = 100_000) -> None:
        self._clock = clock
        self._max_keys = max_keys
        self._partitions = Partitions(max_keys)
        self._keep = self._partitions.keep
        self._grants: dict[str, Grant] = {}

    async def start(self) -> None:
        """Nothing to connect to."""

    async def close(self) -> None:
        """Nothing to give back; what was counted stays until the object goes."""

    async def admit(self, ask: Ask, lease: str) -> Decision:
        """See `Store.admit`."""
        now_us = self._clock()
        decision, kept, states = self._decide(ask, now_us, lease, commit=True)
        for guard, known in zip(ask.guards, kept, strict=True):
            self._keep(guard.key, known, now_us, known.lives_us(guard.rule, now_us))
        for charge, state, verdict in zip(ask.charges, states, decision.verdicts, strict=bool(decision.verdicts)):
            self._keep(charge.key, state, now_us, verdict.reset_us)
        return decision

    async def peek(self, ask: Ask) -> Decision:
        """See `Store.peek`."""
        return self._decide(ask, self._clock(), "", commit=False)[0]

    def release(self, charges: Sequence[Charge], lease: str) -> None:
        """See `Store.release`."""
        for leases, partition, charge in self._held(charges):
            partition.state = leases.released(units(charge.limit, charge.cost), lease)

    def renew(self, charges: Sequence[Charge], lease: str) -> None:
        """See `Store.renew`."""
        now_us = self._clock()
        for leases, partition, (limit, _, cost) in self._held(charges):
            partition.state = leases.renewed(limit, units(limit, cost), now_us, lease)
            partition.ends_us = max(partition.ends_us, now_us + limit.window_us)

    def settle(self, corrections: Sequence[Correction], at_us: int) -> None:
        """See `Store.settle`."""
        now_us = self._clock()
        for correction in corrections:
            limit, key, _ = correction.charge
            after = corrected(correction, cast("State | None", self._partitions.state(key)), at_us, now_us)
            if after is not None:
                self._keep(key, after, now_us, after.present(limit, now_us)[1])

    async def pay(self, corrections: Sequence[Correction]) -> Sequence[Correction]:
        """See `Store.pay`."""
        self.settle(corrections, 0)
        return ()

    async def reset(self, charge: Charge) -> bool:
        """See `Store.reset`."""
        return self._partitions.forget(charge.key)

    async def grant(self, charge: Charge, grant: Grant | None, for_us: int = 0) -> bool:
        """See `Store.grant`. Beyond `max_keys` of them, those that would end first end now."""
        now_us, key = self._clock(), charge.key
        before = self._granted(key, now_us)
        self._grants.pop(key, None)
        if grant is not None:
            if len(self._grants) >= self._max_keys:
                del self._grants[min(self._grants, key=lambda other: self._grants[other].until_us)]
            self._grants[key] = grant._replace(until_us=now_us + min(for_us, MAX_GRANT_US))
        return before is not None

    async def granted(self, charge: Charge) -> tuple[int, Grant | None]:
        """See `Store.granted`."""
        now_us = self._clock()
        return now_us, self._granted(charge.key, now_us)

    async def grants(self) -> tuple[int, Grants]:
        """See `Store.grants`."""
        now_us = self._clock()
        found = ((key, self._granted(key, now_us)) for key in sorted(self._grants))
        return now_us, tuple((key, grant) for key, grant in found if grant is not None)

    def _granted(self, key: str, now_us: int) -> Grant | None:
        """The grant in force; one that has ended is forgotten."""
        grant = self._grants.get(key)
        if grant is not None and grant.until_us <= now_us:
            del self._grants[key]
            return None
        return grant

    def _under_grants(self, ask: Ask, now_us: int) -> tuple[Ask, tuple[int, ...]]:
        """What is asked under the grants in force, and their numbers; both as they are when there are none."""
        grants = [self._granted(charge.key, now_us) for charge in ask.charges] if self._grants else []
        if not any(grants):
            return ask, ()
        asked = zip(ask.charges, grants, strict=True)
        quotas = tuple([counted(charge.limit, grant.quota) if grant else 0 for charge, grant in asked])
        return under(ask, quotas), quotas

    async def report(self, reports: Sequence[Report]) -> tuple[Change | None, ...]:
        """See `Store.report`."""
        now_us = self._clock()
        return tuple(self._report(report, now_us) for report in reports)

    def _report(self, report: Report, now_us: int) -> Change | None:
        breaker, circuit = self._circuit(report.guard)
        after, change = circuit.reported(breaker, report, now_us)
        self._keep(report.guard.key, after, now_us, after.lives_us(breaker, now_us))
        return change

    async def pause(self, guard: Guard, for_us: int, left: int = 0) -> tuple[bool, int]:
        """See `Store.pause`."""
        now_us, pause = self._clock(), self._known(guard)
        assert isinstance(guard.rule, Pausing), "a breaker is not paused"
        assert isinstance(pause, Pause), "kept_for gives what fits the rule"
        after, began = pause.asked(guard.rule, for_us, now_us, left)
        lasts_us = after.lives_us(guard.rule, now_us)
        self._keep(guard.key, after, now_us, lasts_us)
        return began, lasts_us

    async def force(self, guard: Guard, state: core.State | None, for_us: int) -> Change | None:
        """See `Store.force`."""
        now_us = self._clock()
        breaker, circuit = self._circuit(guard)
        after, change = circuit.forced(state, for_us, now_us)
        self._keep(guard.key, after, now_us, after.lives_us(breaker, now_us))
        return change

    async def troubled(self) -> tuple[str, ...]:
        """See `Store.troubled`."""
        circuits = [(key, state) for key, state in self._partitions.states() if isinstance(state, Circuit)]
        now_us = self._clock()
        return tuple(key for key, one in circuits if one.state or one.until_us > now_us)

    async def guards(self, guards: Sequence[Guard]) -> tuple[int, tuple[Kept, ...]]:
        """See `Store.guards`."""
        return self._clock(), tuple(self._known(guard) for guard in guards)

    async def ping(self) -> float:
        """There is no way to go."""
        return 0.0

    def state_of(self, key: str) -> State | Kept | None:
        """What is remembered of a partition that still says something; else None."""
        partition = self._partitions.get(key)
        return partition.state if partition is not None and partition.ends_us > self._clock() else None

    def begin(self, key: str, state: State, reset_us: int) -> None:
        """Go on with a partition from what somebody else knows of it, for so long."""
        self._keep(key, state, self._clock(), reset_us)

    def take_slots(self, charge: Charge, lease: str) -> None:
        """Slots of a concurrency limit, if there are some left."""
        now_us = self._clock()
        limit, key, cost = charge
        leases = state_for(limit, cast("State | None", self._partitions.state(key)))
        if not leases.retry_us(limit, cost, now_us):
            self._keep(key, leases.charged(limit, cost, now_us, lease), now_us, limit.window_us)

    def keys(self) -> list[str]:
        """All partitions that something is remembered of."""
        return list(self._partitions)

    def forget_charges(self, keys: Iterable[str]) -> None:
        """Forget what windows and buckets have counted of these. Slots in use stay."""
        for key in keys:
            if isinstance(self._partitions.state(key), Log | Bucket | Tally):
                self._partitions.forget(key)
        self._partitions.tidy()

    def forget_guards(self, keys: Iterable[str]) -> None:
        """Forget these breakers and pauses."""
        for key in keys:
            self._partitions.forget(key)

    def __len__(self) -> int:
        return len(self._partitions)

    def __bool__(self) -> bool:
        """A store is a store, also while nothing is counted."""
        return True

    def _decide(
        self, ask: Ask, now_us: int, lease: str, *, commit: bool
    ) -> tuple[Decision, tuple[Kept, ...], tuple[State | None, ...]]:
        kept = [self._known(guard) for guard in ask.guards]
        states = [cast("State | None", self._partitions.state(charge.key)) for charge in ask.charges]
        ask, quotas = self._under_grants(ask, now_us)
        decision, after, states_after = decide_call(ask, kept, states, now_us, lease, commit=commit)
        return (decision._replace(quotas=quotas) if quotas and decision.verdicts else decision), after, states_after

    def _known(self, guard: Guard) -> Kept:
        return kept_for(guard, cast("Kept | None", self._partitions.state(guard.key)))

    def _circuit(self, guard: Guard) -> tuple[Breaker, Circuit]:
        circuit = self._known(guard)
        assert isinstance(guard.rule, Breaker), "a pause hears of no outcomes"
        assert isinstance(circuit, Circuit), "kept_for gives what fits the rule"
        return guard.rule, circuit

    def _held(self, charges: Sequence[Charge]) -> list[tuple[Leases, Partition, Charge]]:
        """The partitions of the concurrency limits among `charges` that hold leases."""
        held = []
        for charge in charges:
            partition = self._partitions.get(charge.key)
            if charge.limit.algorithm is Algorithm.CONCURRENCY and partition and isinstance(partition.state, Leases):
                held.append((partition.state, partition, charge))
        return held
