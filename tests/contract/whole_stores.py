"""Whole stores with real servers behind Sentinels and in a cluster, as more things that count."""

import asyncio
from collections.abc import Awaitable, Coroutine, Iterable, Sequence
from typing import Any

from gateway.core.ask import Ask
from gateway.core.decision import Kept
from gateway.core.grant import Grant
from gateway.core.guards import Change, Guard, Report
from gateway.core.guards import State as Phase
from gateway.core.limits import Charge, Decision
from gateway.core.settlement import Correction
from gateway.store.cluster.store import ClusterStore
from gateway.store.cluster.topology import slot_of
from gateway.store.connection.link import pack
from gateway.store.redis import RedisStore
from gateway.store.scripts.guards import LIST
from tests.contract.counters import PREFIX


class WholeStore:
    """`RedisStore` or `ClusterStore`, by the URL.

    Limits of different first key parts are on different servers of a cluster, so there most calls are charged group by
    group. As with `Scripts`, the servers' own clocks would end keys too early: they persist.
    """

    def __init__(self, url: str) -> None:
        self._runner = asyncio.Runner()
        self._runner.get_loop()
        self.store = self._run(self._open(url))

    async def _open(self, url: str) -> RedisStore | ClusterStore:
        kind = ClusterStore if "+cluster" in url else RedisStore
        store = kind(url, key_prefix=PREFIX, timeout_us=20_000_000)
        await store.start()
        return store

    def _persist(self, key: str) -> Awaitable[Any]:
        command = pack(("PERSIST", key))
        if isinstance(self.store, ClusterStore):
            return self.store._nodes.ask(slot_of(key), (command, None, None, ""))
        return self.store._pipeline.ask(command)

    def close(self) -> None:
        self._run(self.store.close())
        self._runner.close()

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self._runner.run(work)

    def _do(self, now_us: int, keys: Iterable[str], work: Any, *arguments: Any) -> Any:
        """Call and await it, until what it told has arrived too."""
        self.store.now_us = now_us

        async def do() -> Any:
            answer = work(*arguments)
            if answer is not None:
                answer = await answer
            await self.store.ping()
            for key in keys:
                for name in (PREFIX + key, f"{PREFIX}{key}!"):
                    await self._persist(name)
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
        self._do(now_us, _keys(charges), self.store.release, charges, lease)

    def renew(self, charges: Sequence[Charge], lease: str, now_us: int) -> None:
        self._do(now_us, _keys(charges), self.store.renew, charges, lease)

    def settle(self, corrections: Sequence[Correction], at_us: int, now_us: int) -> None:
        charges = [correction.charge for correction in corrections]
        self._do(now_us, _keys(charges), self.store.settle, corrections, at_us)

    def reset(self, key: str) -> None:
        self._do(0, [key], self.store.reset, Charge(None, key, 1))  # type: ignore[arg-type]

    def grant(self, charge: Charge, quota: int, for_us: int, now_us: int) -> bool:
        grant = Grant(quota, 0, "why") if quota else None
        return bool(self._do(now_us, [charge.key], self.store.grant, charge, grant, for_us))

    def grants(self, now_us: int) -> dict[str, tuple[int, str]]:
        """Those in force: number and reason by partition."""
        return {key: (one.quota, one.reason) for key, one in self._do(now_us, [], self.store.grants)[1]}

    def ask(self, ask: Ask, now_us: int, lease: str = "", *, commit: bool = True) -> Decision:
        keys = [*_keys(ask.charges), *(guard.key for guard in ask.guards)]
        work = (self.store.admit, ask, lease) if commit else (self.store.peek, ask)
        decision: Decision = self._do(now_us, keys, *work)
        return decision

    def report(self, reports: Sequence[Report], now_us: int) -> tuple[Change | None, ...]:
        changes: tuple[Change | None, ...] = self._do(
            now_us, [LIST, *(report.guard.key for report in reports)], self.store.report, reports
        )
        return changes

    def pause(self, guard: Guard, for_us: int, now_us: int, left: int = 0) -> tuple[bool, int]:
        began, wait_us = self._do(now_us, [guard.key], self.store.pause, guard, for_us, left)
        return began, wait_us

    def force(self, guard: Guard, state: Phase | None, for_us: int, now_us: int) -> Change | None:
        change: Change | None = self._do(now_us, [LIST, guard.key], self.store.force, guard, state, for_us)
        return change

    def kept(self, guards: Sequence[Guard]) -> tuple[Kept, ...]:
        _, kept = self._do(self.store.now_us, [], self.store.guards, guards)
        return tuple(kept)

    def troubled(self) -> tuple[str, ...]:
        return tuple(self._do(self.store.now_us, [], self.store.troubled))


def _keys(charges: Sequence[Charge]) -> list[str]:
    return [charge.key for charge in charges]
