"""Limits decided by a Redis Cluster: one script for what is in one slot, several for what is not."""

import asyncio
import secrets
from collections.abc import Awaitable, Coroutine, Sequence
from time import monotonic
from typing import Any, cast

from gateway.core.ask import Ask
from gateway.core.guards import Change, Guard, Report, State
from gateway.core.limits import Charge, Decision
from gateway.core.settlement import Correction
from gateway.core.store_url import parse_url
from gateway.core.units import SECOND_US
from gateway.names import KnownNames
from gateway.store import StoreDown
from gateway.store.cluster.deciding import Deciding, plain
from gateway.store.cluster.groups import Group, corrections_of, permits_of
from gateway.store.cluster.nodes import Nodes
from gateway.store.cluster.telling import Telling
from gateway.store.cluster.topology import slot_of
from gateway.store.connection.faults import Redirected
from gateway.store.connection.link import Argument, Decode, Link, pack
from gateway.store.connection.pipeline import OnEvent, ignore_event
from gateway.store.operated import Operated
from gateway.store.scripts.admissions import Admissions, load_scripts
from gateway.store.scripts.guards import (
    LIST,
    decode_changes,
    decode_pause,
    encode_force,
    encode_list,
    encode_pause,
    encode_report,
)
from gateway.store.scripts.limits import encode_release, encode_renew, encode_settle
from gateway.store.scripts.sources import FORCE, LIST_ONE, PAUSE, RELEASE, RENEW, REPORT, SETTLE, Script

_PING, _TIME = pack(("PING",)), pack(("TIME",))


class ClusterStore(Operated):
    """The `Store` on a Redis Cluster.

    What one call asks of one slot is decided by one script in one trip, as on one server. A call whose guards and
    limits are in several slots takes two trips: all of them are asked, and charged only if all would admit. What was
    charged while another one, a moment later, refuses after all, is given back. So nobody is ever let in too much;
    between the two moments somebody else may be refused.
    """

    kind = "redis"

    def __init__(
        self,
        url: str,
        *,
        key_prefix: str = "gw:",
        timeout_us: int = 20_000,
        on_event: OnEvent = ignore_event,
        decides: bool = True,
        known: KnownNames | None = None,
    ) -> None:
        """Raises ValueError for a URL it cannot use; the text shows no secret. `decides` and `known` as for
        `RedisStore`."""
        super().__init__(key_prefix)
        self._decides = decides
        self._admissions = Admissions(key_prefix)
        self._nodes = Nodes(
            parse_url(url),
            timeout_s=timeout_us / SECOND_US,
            prepare=load_scripts,
            probe=self._probe,
            on_event=on_event,
            known=known,
        )
        self._telling = Telling(self._nodes)
        self._deciding = Deciding(self._nodes, self._admissions, self._slot, self._give_back)

    @property
    def now_us(self) -> int:
        """0 = the servers' clocks; anything else is for tests."""
        return self._deciding.now_us

    @now_us.setter
    def now_us(self, now_us: int) -> None:
        self._deciding.now_us = now_us

    @property
    def up(self) -> bool:
        """Whether all decisions flow right now."""
        return self._nodes.fault is None

    def stayed(self, key: str, since_s: float) -> bool:
        """Whether this key's server has been there ever since, by `monotonic`: nobody had to decide without it."""
        return self._nodes.stayed(self._slot(key), since_s)

    async def start(self) -> None:
        await self._nodes.start()

    async def close(self) -> None:
        await self._telling.close()
        await self._nodes.close()

    # -- decisions

    def admit(self, ask: Ask, lease: str) -> Awaitable[Decision]:
        return self._deciding.admit(ask, lease)

    def peek(self, ask: Ask) -> Awaitable[Decision]:
        return self._deciding.peek(ask)

    def _slot(self, key: str) -> int:
        return slot_of(self._prefix + key)

    def _give_back(self, group: Group, taken: Decision, lease: str) -> None:
        self.release(group.ask.charges, lease)
        self.settle(corrections_of(group, taken), taken.now_us)
        for permit in permits_of(group, taken):
            self._telling.tell(REPORT, encode_report([permit], self._prefix, listed=False, now_us=self.now_us))

    # -- what is told of calls

    def release(self, charges: Sequence[Charge], lease: str) -> None:
        for charge in charges:
            self._telling.tell(RELEASE, encode_release([charge], lease, self._prefix), repeatable=True)

    def renew(self, charges: Sequence[Charge], lease: str) -> None:
        for charge in charges:
            self._telling.tell(RENEW, encode_renew([charge], lease, self._prefix, now_us=self.now_us))

    def settle(self, corrections: Sequence[Correction], at_us: int) -> None:
        now_us, ahead_us = self.now_us, 0 if self.now_us else self._admissions.ahead_us
        for correction in corrections:
            self._telling.tell(
                SETTLE, encode_settle([correction], at_us, self._prefix, now_us=now_us, ahead_us=ahead_us)
            )

    async def pay(self, corrections: Sequence[Correction]) -> Sequence[Correction]:
        ahead_us = self._admissions.ahead_us
        each = [encode_settle([one], 0, self._prefix, now_us=self.now_us, ahead_us=ahead_us) for one in corrections]
        answers = await asyncio.gather(*(self.run(SETTLE, one) for one in each), return_exceptions=True)
        return [one for one, answer in zip(corrections, answers, strict=True) if _may_be_lost(answer)]

    # -- guards

    async def report(self, reports: Sequence[Report]) -> tuple[Change | None, ...]:
        told = [
            self.run(REPORT, encode_report([report], self._prefix, listed=False, now_us=self.now_us), decode_changes, 1)
            for report in reports
        ]
        changes = [change for (change,) in await _all(told)]
        for report, change in zip(reports, changes, strict=True):
            if change is not None:
                self._list(report.guard, change.wait_us if change.state is State.OPEN else -1)
        return tuple(changes)

    async def pause(self, guard: Guard, for_us: int, left: int = 0) -> tuple[bool, int]:
        arguments = encode_pause(guard, for_us, self._prefix, now_us=self.now_us, left=left)
        return cast("tuple[bool, int]", await self.run(PAUSE, arguments, decode_pause))

    async def force(self, guard: Guard, state: State | None, for_us: int) -> Change | None:
        arguments = encode_force(guard, state, for_us, self._prefix, listed=False, now_us=self.now_us)
        (change,) = await self.run(FORCE, arguments, decode_changes, 1)
        if state is not None:
            self._list(guard, for_us)
        return cast("Change | None", change)

    def _list(self, guard: Guard, for_us: int) -> None:
        self._telling.tell(LIST_ONE, encode_list(guard, for_us, self._prefix, now_us=self.now_us))

    async def ping(self) -> float:
        """Of the slowest primary. Whatever was told before has been done then."""
        await self._telling.sent()
        started = monotonic()
        if self._nodes.fault is not None:
            raise plain(self._nodes.fault)
        await asyncio.gather(*(node.pipeline.ask(_PING) for node in self._nodes.primaries))
        return monotonic() - started

    # -- the way there

    async def run(
        self, script: Script, arguments: Sequence[Argument], decode: Decode | None = None, context: Any = None
    ) -> Any:
        """Run a script whose keys are all in one slot. Its answer is decode(reply, context). Raises StoreDown."""
        command = pack(("EVALSHA", script.sha1_hex, *arguments))
        slot = slot_of(str(arguments[1]))
        try:
            return await self._nodes.ask(slot, (command, decode, context, script.source))
        except Redirected as redirected:
            raise plain(redirected) from None

    async def _ask_about(self, key: str, command: str, *arguments: Argument) -> Any:
        return await self._nodes.ask(self._slot(key), (pack((command, self._prefix + key, *arguments)), None, None, ""))

    async def _kept(self, keys: Sequence[str]) -> tuple[int, Sequence[bytes | None]]:
        now = self._now_us(keys[0] if keys else LIST)
        now_us, *found = await _all([now, *(self._ask_about(key, "MGET") for key in keys)])
        return now_us, [one for (one,) in found]

    async def _now_us(self, key: str) -> int:
        """By the clock that decides about this key."""
        seconds, micros = await self._nodes.ask(self._slot(key), (_TIME, None, None, ""))
        return self.now_us or int(seconds) * SECOND_US + int(micros)

    def _probe(self, link: Link, tag: str) -> "asyncio.Future[Any]":
        if not tag or not self._decides:
            return link.send(_PING)
        return link.send(*self._admissions.probe(f"{secrets.token_hex(8)}:{{{tag}}}"))


def _may_be_lost(answer: object) -> bool:
    """Raises what is not about the store."""
    if isinstance(answer, BaseException) and not isinstance(answer, StoreDown):
        raise answer
    return isinstance(answer, StoreDown) and answer.kind != "script"


async def _all(awaited: Sequence[Coroutine[Any, Any, Any]]) -> list[Any]:
    """All answers; raises the first StoreDown when the others are here too."""
    answers = await asyncio.gather(*awaited, return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return answers
