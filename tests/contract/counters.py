"""One face for everything that counts: the core model, the local store, and the scripts in a real server.

All take the time as an argument. Timelines and random sequences run on each of them and must give the same answers.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol

import redis

from gateway.core.algorithms import Leases, State
from gateway.core.ask import Ask
from gateway.core.decision import decide
from gateway.core.limits import Algorithm, Charge, Decision
from gateway.store.local import LocalStore
from gateway.store.scripts import (
    ADMIT,
    RELEASE,
    RENEW,
    Argument,
    Script,
    decode_admit,
    encode_admit,
    encode_release,
    encode_renew,
)

PREFIX = "t:"


class Counter(Protocol):
    """What all of them can do."""

    def admit(self, charges: Sequence[Charge], lease: str, now_us: int) -> Decision: ...

    def peek(self, charges: Sequence[Charge], now_us: int) -> Decision: ...

    def release(self, charges: Sequence[Charge], lease: str, now_us: int) -> None: ...

    def renew(self, charges: Sequence[Charge], lease: str, now_us: int) -> None: ...

    def reset(self, key: str) -> None: ...


class CoreModel:
    """The pure functions on a plain dictionary: the definition."""

    def __init__(self) -> None:
        self.states: dict[str, State] = {}

    def admit(self, charges: Sequence[Charge], lease: str, now_us: int) -> Decision:
        decision, states = self._decide(charges, lease, now_us, commit=True)
        self.states.update(zip([charge.key for charge in charges], states, strict=True))
        return decision

    def peek(self, charges: Sequence[Charge], now_us: int) -> Decision:
        return self._decide(charges, "", now_us, commit=False)[0]

    def release(self, charges: Sequence[Charge], lease: str, now_us: int) -> None:
        for charge, leases in self._held(charges):
            self.states[charge.key] = leases.released(charge.cost, lease)

    def renew(self, charges: Sequence[Charge], lease: str, now_us: int) -> None:
        for charge, leases in self._held(charges):
            self.states[charge.key] = leases.renewed(charge.limit, charge.cost, now_us, lease)

    def reset(self, key: str) -> None:
        self.states.pop(key, None)

    def _decide(
        self, charges: Sequence[Charge], lease: str, now_us: int, *, commit: bool
    ) -> tuple[Decision, tuple[State, ...]]:
        return decide(charges, [self.states.get(charge.key) for charge in charges], now_us, lease, commit=commit)

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

    def reset(self, key: str) -> None:
        asyncio.run(self.store.reset(Charge(None, key, 1)))  # type: ignore[arg-type]


class Scripts:
    """The scripts in a real server, one trip a call. The server's own clock would end keys too early: they persist."""

    def __init__(self, client: "redis.Redis") -> None:
        self.client = client
        for script in (ADMIT, RELEASE, RENEW):
            assert client.script_load(script.source) == script.sha1_hex

    def admit(self, charges: Sequence[Charge], lease: str, now_us: int) -> Decision:
        arguments = encode_admit(charges, lease, prefix=PREFIX, commit=True, now_us=now_us)
        return decode_admit(self._run(ADMIT, arguments, charges), charges)

    def peek(self, charges: Sequence[Charge], now_us: int) -> Decision:
        arguments = encode_admit(charges, "", prefix=PREFIX, commit=False, now_us=now_us)
        return decode_admit(self._run(ADMIT, arguments, charges), charges)

    def release(self, charges: Sequence[Charge], lease: str, now_us: int) -> None:
        arguments = encode_release(charges, lease, PREFIX)
        if arguments is not None:
            self._run(RELEASE, arguments, charges)

    def renew(self, charges: Sequence[Charge], lease: str, now_us: int) -> None:
        arguments = encode_renew(charges, lease, PREFIX, now_us=now_us)
        if arguments is not None:
            self._run(RENEW, arguments, charges)

    def reset(self, key: str) -> None:
        self.client.delete(PREFIX + key)

    def _run(self, script: Script, arguments: list[Argument], charges: Sequence[Charge]) -> list[int]:
        with self.client.pipeline(transaction=True) as pipe:
            queue(pipe, script, arguments, [charge.key for charge in charges])
            return pipe.execute()[0]


def queue(pipe: "redis.client.Pipeline", script: Script, arguments: list[Argument], keys: Sequence[str]) -> None:
    """Add one script call to a transaction, and take the server's own time limit off its keys."""
    pipe.execute_command("EVALSHA", script.sha1_hex, *arguments)
    for key in keys:
        pipe.persist(PREFIX + key)
