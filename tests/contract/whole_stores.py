"""Whole stores with real servers behind Sentinels and in a cluster, as more things that count."""

import asyncio
from collections.abc import Coroutine, Sequence
from time import monotonic
from typing import Any
from unittest.mock import patch

import hiredis

from gateway.core.ask import Ask
from gateway.core.decision import Kept
from gateway.core.grant import Grant
from gateway.core.guards import Change, Guard, Report
from gateway.core.guards import State as Phase
from gateway.core.limits import Charge, Decision
from gateway.core.settlement import Correction
from gateway.store.cluster.store import ClusterStore
from gateway.store.cluster.topology import slot_of
from gateway.store.connection import pipeline
from gateway.store.connection.link import Link, Slot, pack
from gateway.store.redis import RedisStore
from tests.contract.counters import PREFIX


class LastingLink(Link):
    """The servers' own clocks would end keys too early: in the same write as each script, its keys persist.

    A moment later would be too late on a busy host, for the shortest live a tenth of a second.
    """

    def _enqueue(self, command: bytes, slot: Slot) -> None:
        super()._enqueue(command, slot)
        for key in _keys(command):
            for name in (key, key + b"!"):
                super()._enqueue(pack(("PERSIST", name)), (None, None, None, monotonic(), b"", ""))


def _keys(command: bytes) -> list[bytes]:
    """Those of the script that it runs, if it does."""
    reader = hiredis.Reader()
    reader.feed(command)
    words = reader.gets()
    assert isinstance(words, list)
    return words[3 : 3 + int(words[2])] if words[0] in (b"EVALSHA", b"EVAL") else []


class WholeStore:
    """`RedisStore` or `ClusterStore`, by the URL, for one thread.

    Limits of different first key parts are on different servers of a cluster, so there most calls are charged group by
    group.
    """

    def __init__(self, url: str) -> None:
        self._runner = asyncio.Runner()
        self._runner.get_loop()
        self.store = self._run(self._open(url))

    async def _open(self, url: str) -> RedisStore | ClusterStore:
        kind = ClusterStore if "+cluster" in url else RedisStore
        store = kind(url, key_prefix=PREFIX, timeout_us=20_000_000)
        with patch.object(pipeline, "Link", LastingLink):
            await store.start()
        return store

    def close(self) -> None:
        self._run(self.store.close())
        self._runner.close()

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self._runner.run(work)

    def _do(self, now_us: int, work: Any, *arguments: Any) -> Any:
        """Call and await it, until what it told has arrived too."""
        self.store.now_us = now_us

        async def do() -> Any:
            answer = work(*arguments)
            if answer is not None:
                answer = await answer
            await self.store.ping()
            return answer

        return self._run(do())

    def owner_of(self, key: str) -> str:
        """The address of the server that has this key."""
        assert isinstance(self.store, ClusterStore)
        node = self.store._nodes._owners[slot_of(PREFIX + key)]
        return node.name if node else ""

    def admit(self, charges: Sequence[Charge], lease: str, now_us: int) -> Decision:
        return self.ask(Ask(charges), now_us, lease)

    def peek(self, charges: Sequence[Charge], now_us: int) -> Decision:
        return self.ask(Ask(charges), now_us, commit=False)

    def release(self, charges: Sequence[Charge], lease: str, now_us: int) -> None:
        self._do(now_us, self.store.release, charges, lease)

    def renew(self, charges: Sequence[Charge], lease: str, now_us: int) -> None:
        self._do(now_us, self.store.renew, charges, lease)

    def settle(self, corrections: Sequence[Correction], at_us: int, now_us: int) -> None:
        self._do(now_us, self.store.settle, corrections, at_us)

    def reset(self, key: str) -> None:
        self._do(0, self.store.reset, Charge(None, key, 1))  # type: ignore[arg-type]

    def grant(self, charge: Charge, quota: int, for_us: int, now_us: int) -> bool:
        grant = Grant(quota, 0, "why") if quota else None
        return bool(self._do(now_us, self.store.grant, charge, grant, for_us))

    def grants(self, now_us: int) -> dict[str, tuple[int, str]]:
        """Those in force: number and reason by partition."""
        return {key: (one.quota, one.reason) for key, one in self._do(now_us, self.store.grants)[1]}

    def ask(self, ask: Ask, now_us: int, lease: str = "", *, commit: bool = True) -> Decision:
        work = (self.store.admit, ask, lease) if commit else (self.store.peek, ask)
        decision: Decision = self._do(now_us, *work)
        return decision

    def report(self, reports: Sequence[Report], now_us: int) -> tuple[Change | None, ...]:
        changes: tuple[Change | None, ...] = self._do(now_us, self.store.report, reports)
        return changes

    def pause(self, guard: Guard, for_us: int, now_us: int, left: int = 0) -> tuple[bool, int]:
        began, wait_us = self._do(now_us, self.store.pause, guard, for_us, left)
        return began, wait_us

    def force(self, guard: Guard, state: Phase | None, for_us: int, now_us: int) -> Change | None:
        change: Change | None = self._do(now_us, self.store.force, guard, state, for_us)
        return change

    def kept(self, guards: Sequence[Guard]) -> tuple[Kept, ...]:
        _, kept = self._do(self.store.now_us, self.store.guards, guards)
        return tuple(kept)

    def troubled(self) -> tuple[str, ...]:
        return tuple(self._do(self.store.now_us, self.store.troubled))
