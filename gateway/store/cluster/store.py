"""Limits decided by a Redis Cluster: one script for what is in one slot, several for what is not."""

import asyncio
import secrets
from collections.abc import Awaitable, Coroutine, Sequence
from time import monotonic
from typing import Any, cast

from gateway.core.ask import Ask
from gateway.core.decision import Kept
from gateway.core.grant import Grant
from gateway.core.guards import Change, Guard, Report, State
from gateway.core.limits import Charge, Decision
from gateway.core.settlement import Correction
from gateway.core.store_url import parse_url
from gateway.core.units import SECOND_US
from gateway.store import Grants, StoreDown
from gateway.store.cluster.deciding import Deciding, plain
from gateway.store.cluster.groups import Group, corrections_of, permits_of
from gateway.store.cluster.nodes import Nodes
from gateway.store.cluster.telling import Telling
from gateway.store.cluster.topology import slot_of
from gateway.store.connection.faults import Redirected
from gateway.store.connection.link import Argument, Decode, Link, pack
from gateway.store.connection.pipeline import OnEvent, ignore_event
from gateway.store.redis import MOST_LISTED
from gateway.store.scripts.admissions import Admissions, load_scripts
from gateway.store.scripts.grants import GRANTED, in_force, noted
from gateway.store.scripts.guards import (
    LIST,
    decode_changes,
    decode_pause,
    encode_force,
    encode_list,
    encode_pause,
    encode_report,
    kept_keys,
    unpack_kept,
)
from gateway.store.scripts.limits import encode_grant, encode_release, encode_renew, encode_settle, unpack_grant
from gateway.store.scripts.sources import FORCE, GRANT, LIST_ONE, PAUSE, RELEASE, RENEW, REPORT, SETTLE, Script

_PING, _TIME = pack(("PING",)), pack(("TIME",))


class ClusterStore:
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
    ) -> None:
        """Raises ValueError for a URL it cannot use; the text shows no secret. `decides` as for `RedisStore`."""
        self._decides = decides
        self._prefix = key_prefix
        self._admissions = Admissions(key_prefix)
        self._nodes = Nodes(
            parse_url(url),
            timeout_s=timeout_us / SECOND_US,
            prepare=load_scripts,
            probe=self._probe,
            on_event=on_event,
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
    def key_prefix(self) -> str:
        """What every key begins with."""
        return self._prefix

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

    async def reset(self, charge: Charge) -> bool:
        return await self._grant(charge, None, 0, "reset")

    async def grant(self, charge: Charge, grant: Grant | None, for_us: int = 0) -> bool:
        existed = await self._grant(charge, grant, for_us)
        for command, *arguments in noted(charge.key, given=grant is not None):
            await self._ask_about(GRANTED, command, *arguments)
        return existed

    async def _grant(self, charge: Charge, grant: Grant | None, for_us: int, op: str = "grant") -> bool:
        arguments = encode_grant(charge, grant, for_us, self._prefix, op=op, now_us=self.now_us)
        (existed,) = await self.run(GRANT, arguments)
        return bool(existed)

    async def granted(self, charge: Charge) -> tuple[int, Grant | None]:
        now_us, (packed,) = await _all([self._now_us(charge.key), self._ask_about(charge.key, "MGET")])
        return now_us, unpack_grant(packed, now_us)

    async def grants(self) -> tuple[int, Grants]:
        keys = [key.decode() for key in await self._ask_about(GRANTED, "ZRANGE", 0, MOST_LISTED - 1)]
        now_us, *packed = await _all([self._now_us(GRANTED), *(self._ask_about(key, "MGET") for key in keys)])
        found, ended = in_force(keys, [one for (one,) in packed], now_us)
        if ended:
            await self._ask_about(GRANTED, "ZREM", *ended)
        return now_us, found

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

    async def troubled(self) -> tuple[str, ...]:
        listed = await self._ask_about(LIST, "ZRANGE", 0, MOST_LISTED - 1)
        begin = len(self._prefix)
        return tuple(key.decode()[begin:] for key in listed)

    async def guards(self, guards: Sequence[Guard]) -> tuple[int, tuple[Kept, ...]]:
        kept_keys(guards, self._prefix)
        now = self._now_us(guards[0].key if guards else LIST)
        now_us, *packed = await _all([now, *(self._ask_about(guard.key, "MGET") for guard in guards)])
        return now_us, tuple(unpack_kept(guard.rule, one) for guard, (one,) in zip(guards, packed, strict=True))

    async def _now_us(self, key: str) -> int:
        """By the clock that decides about this key."""
        seconds, micros = await self._nodes.ask(self._slot(key), (_TIME, None, None, ""))
        return self.now_us or int(seconds) * SECOND_US + int(micros)

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
