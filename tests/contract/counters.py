"""One face for everything that counts: the core model, the local store, and the scripts in a real server.

All take the time as an argument. Timelines and random sequences run on each of them and must give the same answers.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol

import redis

from gateway.core.algorithms import Leases, State
from gateway.core.ask import Ask
from gateway.core.decision import Kept, decide_call, kept_for
from gateway.core.grant import MAX_GRANT_US, Grant, counted, under
from gateway.core.guards import Breaker, Change, Guard, Pausing, Report
from gateway.core.guards import State as Phase
from gateway.core.guards.breaker import Circuit
from gateway.core.guards.pause import Pause
from gateway.core.limits import Algorithm, Charge, Decision
from gateway.core.settlement import Correction, corrected
from gateway.store.local.store import LocalStore
from gateway.store.scripts.guards import (
    LIST,
    decode_changes,
    decode_pause,
    encode_force,
    encode_pause,
    encode_report,
    unpack_kept,
)
from gateway.store.scripts.limits import (
    Argument,
    decode_admit,
    encode_admit,
    encode_grant,
    encode_release,
    encode_renew,
    encode_settle,
)
from gateway.store.scripts.sources import ADMIT, FORCE, GRANT, PAUSE, RELEASE, RENEW, REPORT, SCRIPTS, SETTLE, Script

PREFIX = "t:"


class Counter(Protocol):
    """What all of them can do."""

    def admit(self, charges: Sequence[Charge], lease: str, now_us: int) -> Decision: ...

    def peek(self, charges: Sequence[Charge], now_us: int) -> Decision: ...

    def release(self, charges: Sequence[Charge], lease: str, now_us: int) -> None: ...

    def renew(self, charges: Sequence[Charge], lease: str, now_us: int) -> None: ...

    def settle(self, corrections: Sequence[Correction], at_us: int, now_us: int) -> None: ...

    def reset(self, key: str) -> None: ...

    def grant(self, charge: Charge, quota: int, for_us: int, now_us: int) -> bool: ...

    def ask(self, ask: Ask, now_us: int, lease: str = "", *, commit: bool = True) -> Decision: ...

    def report(self, reports: Sequence[Report], now_us: int) -> tuple[Change | None, ...]: ...

    def pause(self, guard: Guard, for_us: int, now_us: int, left: int = 0) -> tuple[bool, int]: ...

    def force(self, guard: Guard, state: Phase | None, for_us: int, now_us: int) -> Change | None: ...

    def kept(self, guards: Sequence[Guard]) -> tuple[Kept, ...]: ...


class CoreModel:
    """The pure functions on a plain dictionary: the definition."""

    def __init__(self) -> None:
        self.states: dict[str, State] = {}
        self.guards: dict[str, Kept] = {}
        self.grants: dict[str, Grant] = {}

    def admit(self, charges: Sequence[Charge], lease: str, now_us: int) -> Decision:
        return self.ask(Ask(charges), now_us, lease)

    def peek(self, charges: Sequence[Charge], now_us: int) -> Decision:
        return self.ask(Ask(charges), now_us, commit=False)

    def release(self, charges: Sequence[Charge], lease: str, now_us: int) -> None:
        for charge, leases in self._held(charges):
            self.states[charge.key] = leases.released(charge.cost, lease)

    def renew(self, charges: Sequence[Charge], lease: str, now_us: int) -> None:
        for charge, leases in self._held(charges):
            self.states[charge.key] = leases.renewed(charge.limit, charge.cost, now_us, lease)

    def settle(self, corrections: Sequence[Correction], at_us: int, now_us: int) -> None:
        for correction in corrections:
            key = correction.charge.key
            after = corrected(correction, self.states.get(key), at_us, now_us)
            if after is not None:
                self.states[key] = after

    def reset(self, key: str) -> None:
        self.states.pop(key, None)
        self.guards.pop(key, None)

    def grant(self, charge: Charge, quota: int, for_us: int, now_us: int) -> bool:
        before = self._quota(charge.key, now_us) > 0
        self.grants.pop(charge.key, None)
        if quota:
            self.grants[charge.key] = Grant(quota, now_us + min(for_us, MAX_GRANT_US))
        return before

    def _quota(self, key: str, now_us: int) -> int:
        """Of the grant in force; one that was seen to have ended is forgotten, also when the clock steps back."""
        grant = self.grants.get(key)
        return grant.quota if grant is not None and grant.until_us > now_us else 0

    def ask(self, ask: Ask, now_us: int, lease: str = "", *, commit: bool = True) -> Decision:
        quotas = tuple(counted(limit, self._quota(key, now_us)) for limit, key, _ in ask.charges)
        if commit:
            for charge, quota in zip(ask.charges, quotas, strict=True):
                if not quota:
                    self.grants.pop(charge.key, None)
        if not any(quotas):
            return self._ask(ask, now_us, lease, commit=commit)
        return self._ask(under(ask, quotas), now_us, lease, commit=commit)._replace(quotas=quotas)

    def _ask(self, ask: Ask, now_us: int, lease: str, *, commit: bool) -> Decision:
        kept = [self.guards.get(guard.key) for guard in ask.guards]
        states = [self.states.get(charge.key) for charge in ask.charges]
        decision, kept_after, states_after = decide_call(ask, kept, states, now_us, lease, commit=commit)
        self.guards.update(zip([guard.key for guard in ask.guards], kept_after, strict=True))
        keys = [charge.key for charge in ask.charges]
        self.states.update((key, state) for key, state in zip(keys, states_after, strict=True) if state is not None)
        return decision

    def report(self, reports: Sequence[Report], now_us: int) -> tuple[Change | None, ...]:
        return tuple(self._report(report, now_us) for report in reports)

    def _report(self, report: Report, now_us: int) -> Change | None:
        (circuit,) = self.kept([report.guard])
        assert isinstance(circuit, Circuit)
        assert isinstance(report.guard.rule, Breaker)
        self.guards[report.guard.key], change = circuit.reported(report.guard.rule, report, now_us)
        return change

    def pause(self, guard: Guard, for_us: int, now_us: int, left: int = 0) -> tuple[bool, int]:
        (pause,) = self.kept([guard])
        assert isinstance(pause, Pause)
        assert isinstance(guard.rule, Pausing)
        self.guards[guard.key], began = pause.asked(guard.rule, for_us, now_us, left)
        return began, self.guards[guard.key].lives_us(guard.rule, now_us)

    def force(self, guard: Guard, state: Phase | None, for_us: int, now_us: int) -> Change | None:
        (circuit,) = self.kept([guard])
        assert isinstance(circuit, Circuit)
        self.guards[guard.key], change = circuit.forced(state, for_us, now_us)
        return change

    def kept(self, guards: Sequence[Guard]) -> tuple[Kept, ...]:
        return tuple(kept_for(guard, self.guards.get(guard.key)) for guard in guards)

    def _held(self, charges: Sequence[Charge]) -> list[tuple[Charge, Leases]]:
        found = [(charge, self.states.get(charge.key)) for charge in charges]
        return [
            (charge, state)
            for charge, state in found
            if isinstance(state, Leases) and charge.limit.algorithm is Algorithm.CONCURRENCY
        ]


class Local:
    """`LocalStore` on a clock that the test sets."""

    def __init__(self) -> None:
        self.now_us = 0
        self.store = LocalStore(clock=lambda: self.now_us)

    def admit(self, charges: Sequence[Charge], lease: str, now_us: int) -> Decision:
        self.now_us = now_us
        return asyncio.run(self.store.admit(Ask(charges), lease))

    def peek(self, charges: Sequence[Charge], now_us: int) -> Decision:
        self.now_us = now_us
        return asyncio.run(self.store.peek(Ask(charges)))

    def release(self, charges: Sequence[Charge], lease: str, now_us: int) -> None:
        self.now_us = now_us
        self.store.release(charges, lease)

    def renew(self, charges: Sequence[Charge], lease: str, now_us: int) -> None:
        self.now_us = now_us
        self.store.renew(charges, lease)

    def settle(self, corrections: Sequence[Correction], at_us: int, now_us: int) -> None:
        self.now_us = now_us
        self.store.settle(corrections, at_us)

    def reset(self, key: str) -> None:
        asyncio.run(self.store.reset(Charge(None, key, 1)))  # type: ignore[arg-type]

    def grant(self, charge: Charge, quota: int, for_us: int, now_us: int) -> bool:
        self.now_us = now_us
        return asyncio.run(self.store.grant(charge, Grant(quota, 0, "why") if quota else None, for_us))

    def grants(self, now_us: int) -> dict[str, tuple[int, str]]:
        """Those in force: number and reason by partition."""
        self.now_us = now_us
        return {key: (one.quota, one.reason) for key, one in asyncio.run(self.store.grants())[1]}

    def ask(self, ask: Ask, now_us: int, lease: str = "", *, commit: bool = True) -> Decision:
        self.now_us = now_us
        return asyncio.run(self.store.admit(ask, lease) if commit else self.store.peek(ask))

    def report(self, reports: Sequence[Report], now_us: int) -> tuple[Change | None, ...]:
        self.now_us = now_us
        return asyncio.run(self.store.report(reports))

    def pause(self, guard: Guard, for_us: int, now_us: int, left: int = 0) -> tuple[bool, int]:
        self.now_us = now_us
        return asyncio.run(self.store.pause(guard, for_us, left))

    def force(self, guard: Guard, state: Phase | None, for_us: int, now_us: int) -> Change | None:
        self.now_us = now_us
        return asyncio.run(self.store.force(guard, state, for_us))

    def kept(self, guards: Sequence[Guard]) -> tuple[Kept, ...]:
        return asyncio.run(self.store.guards(guards))[1]

    def troubled(self) -> tuple[str, ...]:
        return asyncio.run(self.store.troubled())


class Scripts:
    """The scripts in a real server, one trip a call. The server's own clock would end keys too early: they persist."""

    def __init__(self, client: "redis.Redis") -> None:
        self.client = client
        for script in SCRIPTS:
            assert client.script_load(script.source) == script.sha1_hex

    def admit(self, charges: Sequence[Charge], lease: str, now_us: int) -> Decision:
        return self.ask(Ask(charges), now_us, lease)

    def peek(self, charges: Sequence[Charge], now_us: int) -> Decision:
        return self.ask(Ask(charges), now_us, commit=False)

    def release(self, charges: Sequence[Charge], lease: str, now_us: int) -> None:
        arguments = encode_release(charges, lease, PREFIX)
        if arguments is not None:
            self._run(RELEASE, arguments)

    def renew(self, charges: Sequence[Charge], lease: str, now_us: int) -> None:
        arguments = encode_renew(charges, lease, PREFIX, now_us=now_us)
        if arguments is not None:
            self._run(RENEW, arguments)

    def settle(self, corrections: Sequence[Correction], at_us: int, now_us: int) -> None:
        self._run(SETTLE, encode_settle(corrections, at_us, PREFIX, now_us=now_us))

    def reset(self, key: str) -> None:
        self._run(GRANT, encode_grant(Charge(None, key, 1), None, 0, PREFIX, op="reset"))  # type: ignore[arg-type]

    def grant(self, charge: Charge, quota: int, for_us: int, now_us: int) -> bool:
        grant = Grant(quota, 0, "why") if quota else None
        return self._run(GRANT, encode_grant(charge, grant, for_us, PREFIX, now_us=now_us)) == [1]

    def ask(self, ask: Ask, now_us: int, lease: str = "", *, commit: bool = True) -> Decision:
        arguments = encode_admit(ask, lease, prefix=PREFIX, commit=commit, now_us=now_us)
        return decode_admit(self._run(ADMIT, arguments), ask)

    def report(self, reports: Sequence[Report], now_us: int) -> tuple[Change | None, ...]:
        return decode_changes(self._run(REPORT, encode_report(reports, PREFIX, now_us=now_us)), len(reports))

    def pause(self, guard: Guard, for_us: int, now_us: int, left: int = 0) -> tuple[bool, int]:
        return decode_pause(self._run(PAUSE, encode_pause(guard, for_us, PREFIX, now_us=now_us, left=left)), None)

    def force(self, guard: Guard, state: Phase | None, for_us: int, now_us: int) -> Change | None:
        return decode_changes(self._run(FORCE, encode_force(guard, state, for_us, PREFIX, now_us=now_us)), 1)[0]

    def kept(self, guards: Sequence[Guard]) -> tuple[Kept, ...]:
        packed = self.client.mget([PREFIX + guard.key for guard in guards])
        return tuple(unpack_kept(guard.rule, one) for guard, one in zip(guards, packed, strict=True))

    def troubled(self) -> tuple[str, ...]:
        return tuple(key.decode()[len(PREFIX) :] for key in self.client.zrange(PREFIX + LIST, 0, -1))

    def _run(self, script: Script, arguments: list[Argument]) -> list[int]:
        with self.client.pipeline(transaction=True) as pipe:
            queue(pipe, script, arguments)
            return pipe.execute()[0]


def queue(pipe: "redis.client.Pipeline", script: Script, arguments: list[Argument]) -> None:
    """Add one script call to a transaction, and take the server's own time limit off its keys."""
    pipe.execute_command("EVALSHA", script.sha1_hex, *arguments)
    for key in arguments[1 : 1 + int(arguments[0])]:
        pipe.persist(key)
        pipe.persist(f"{key}!")


def server_ms(server: "redis.Redis") -> int:
    """The server's clock: how much of a key's time has passed on a busy host."""
    seconds, micros = server.time()
    return seconds * 1000 + micros // 1000
