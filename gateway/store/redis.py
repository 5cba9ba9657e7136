"""Limits decided by a Redis-protocol server: every decision is one EVALSHA on one multiplexed connection."""

import asyncio
import secrets
from collections.abc import Sequence
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
from gateway.store.connection.dial import Dialer
from gateway.store.connection.link import Argument, Decode, Link, pack
from gateway.store.connection.pipeline import OnEvent, Pipeline, ignore_event
from gateway.store.scripts.admissions import Admissions, load_scripts
from gateway.store.scripts.forms import AdmitForm
from gateway.store.scripts.grants import GRANTED, in_force, noted
from gateway.store.scripts.guards import (
    LIST,
    decode_changes,
    decode_pause,
    encode_force,
    encode_pause,
    encode_report,
    kept_keys,
    unpack_kept,
)
from gateway.store.scripts.limits import encode_grant, encode_release, encode_renew, encode_settle, unpack_grant
from gateway.store.scripts.sources import FORCE, GRANT, PAUSE, RELEASE, RENEW, REPORT, SETTLE, Script

_EVALSHA = "EVALSHA"
MOST_LISTED = 10_000
_PING, _TIME = pack(("PING",)), pack(("TIME",))


class RedisStore:
    """The `Store` on Redis >= 6.2 or Valkey, standalone or behind Sentinels.

    A timed-out or lost `admit` may have been charged: the error is towards counting too much, never too little. It is
    never sent twice, except when the server said that it did not know the script, so that nothing ran.

    A caller that is cancelled while it waits for `admit`, or gets StoreDown, may hold slots of concurrency limits:
    `release` with the same lease gives them back (commands keep their order), else they expire by themselves.

    now_us    0 = the server's clock; anything else is for tests
    on_event  called at each change: `store.degraded` {kind, detail}, `store.recovered` {down_s},
              `store.script_reloaded` {}
    decides   whether it counts as up only while decisions work; else while it answers: a full server still frees
    """

    def __init__(
        self,
        url: str,
        *,
        key_prefix: str = "gw:",
        timeout_us: int = 20_000,
        kind: str = "redis",
        on_event: OnEvent = ignore_event,
        decides: bool = True,
    ) -> None:
        """Raises ValueError for a URL it cannot use; the text shows no secret."""
        self.kind = kind
        self.now_us = 0
        self._decides = decides
        self._prefix = key_prefix
        self._admissions = Admissions(key_prefix)
        self._pipeline = Pipeline(
            Dialer(parse_url(url)),
            timeout_s=timeout_us / SECOND_US,
            prepare=load_scripts,
            probe=self._probe,
            on_event=on_event,
        )

    @property
    def key_prefix(self) -> str:
        """What every key begins with."""
        return self._prefix

    @property
    def up(self) -> bool:
        """Whether decisions flow right now."""
        return self._pipeline.fault is None

    def stayed(self, _key: str, _since_s: float) -> bool:
        """As of a `ClusterStore`: when the only server was away, it was away for every key."""
        return False

    async def start(self) -> None:
        await self._pipeline.start()

    async def close(self) -> None:
        await self._pipeline.close()

    def admit(self, ask: Ask, lease: str) -> "asyncio.Future[Decision]":
        if ask.kind.alike and not self.now_us:
            form: AdmitForm = ask.packed[0] if ask.packed else self._admissions.form(ask)
            return self._pipeline.ask_in(form, ask, form)
        return self._pipeline.ask(*self._admissions.write(ask, lease, commit=True, now_us=self.now_us))

    def peek(self, ask: Ask) -> "asyncio.Future[Decision]":
        return self._pipeline.ask(*self._admissions.write(ask, "", commit=False, now_us=self.now_us))

    def release(self, charges: Sequence[Charge], lease: str) -> None:
        self._tell(RELEASE, encode_release(charges, lease, self._prefix))

    def renew(self, charges: Sequence[Charge], lease: str) -> None:
        self._tell(RENEW, encode_renew(charges, lease, self._prefix, now_us=self.now_us))

    def settle(self, corrections: Sequence[Correction], at_us: int) -> None:
        now_us, ahead_us = self.now_us, 0 if self.now_us else self._admissions.ahead_us
        self._tell(SETTLE, encode_settle(corrections, at_us, self._prefix, now_us=now_us, ahead_us=ahead_us))

    async def pay(self, corrections: Sequence[Correction]) -> Sequence[Correction]:
        if corrections:
            arguments = encode_settle(
                corrections, 0, self._prefix, now_us=self.now_us, ahead_us=self._admissions.ahead_us
            )
            try:
                await self.run(SETTLE, arguments)
            except StoreDown as fault:
                return corrections if fault.kind != "script" else ()
        return ()

    async def reset(self, charge: Charge) -> bool:
        return await self._grant(charge, None, 0, "reset")

    async def grant(self, charge: Charge, grant: Grant | None, for_us: int = 0) -> bool:
        existed = await self._grant(charge, grant, for_us)
        for command in noted(charge.key, given=grant is not None):
            await self._listed(*command)
        return existed

    def _listed(self, command: str, *arguments: Argument) -> "asyncio.Future[Any]":
        return self._pipeline.ask(pack((command, self._prefix + GRANTED, *arguments)))

    async def _grant(self, charge: Charge, grant: Grant | None, for_us: int, op: str = "grant") -> bool:
        arguments = encode_grant(charge, grant, for_us, self._prefix, op=op, now_us=self.now_us)
        (existed,) = await self.run(GRANT, arguments)
        return bool(existed)

    async def granted(self, charge: Charge) -> tuple[int, Grant | None]:
        now_us, (packed,) = await self._kept([self._prefix + charge.key])
        return now_us, unpack_grant(packed, now_us)

    async def grants(self) -> tuple[int, Grants]:
        keys = [key.decode() for key in await self._listed("ZRANGE", 0, MOST_LISTED - 1)]
        now_us, packed = await self._kept([self._prefix + key for key in (*keys, GRANTED)])  # never nothing
        found, ended = in_force(keys, packed[:-1], now_us)
        if ended:
            await self._listed("ZREM", *ended)
        return now_us, found

    def report(self, reports: Sequence[Report]) -> "asyncio.Future[tuple[Change | None, ...]]":
        return self.run(REPORT, encode_report(reports, self._prefix, now_us=self.now_us), decode_changes, len(reports))

    def pause(self, guard: Guard, for_us: int, left: int = 0) -> "asyncio.Future[tuple[bool, int]]":
        return self.run(PAUSE, encode_pause(guard, for_us, self._prefix, now_us=self.now_us, left=left), decode_pause)

    async def force(self, guard: Guard, state: State | None, for_us: int) -> Change | None:
        arguments = encode_force(guard, state, for_us, self._prefix, now_us=self.now_us)
        (change,) = await self.run(FORCE, arguments, decode_changes, 1)
        return cast("Change | None", change)

    async def troubled(self) -> tuple[str, ...]:
        listed = await self._pipeline.ask(pack(("ZRANGE", self._prefix + LIST, 0, MOST_LISTED - 1)))
        begin = len(self._prefix)
        return tuple(key.decode()[begin:] for key in listed)

    async def guards(self, guards: Sequence[Guard]) -> tuple[int, tuple[Kept, ...]]:
        now_us, kept = await self._kept(kept_keys(guards, self._prefix))
        return now_us, tuple(unpack_kept(guard.rule, packed) for guard, packed in zip(guards, kept, strict=True))

    async def _kept(self, keys: Sequence[str]) -> tuple[int, list[bytes | None]]:
        """The server's clock, and what is kept under each of these keys."""
        ask = self._pipeline.ask
        (seconds, micros), packed = await asyncio.gather(ask(_TIME), ask(pack(("MGET", *keys))))
        return self.now_us or int(seconds) * SECOND_US + int(micros), packed

    async def ping(self) -> float:
        started = monotonic()
        await self._pipeline.ask(_PING)
        return monotonic() - started

    def run(
        self, script: Script, arguments: Sequence[Argument], decode: Decode | None = None, context: Any = None
    ) -> "asyncio.Future[Any]":
        """Run a script that is not about limits. The future holds decode(reply, context), or StoreDown."""
        command = pack((_EVALSHA, script.sha1_hex, *arguments))
        return self._pipeline.ask(command, decode, context, script.source)

    def _tell(self, script: Script, arguments: list[Argument] | None) -> None:
        if arguments is not None:
            command = pack((_EVALSHA, script.sha1_hex, *arguments))
            self._pipeline.tell(command, script.source)

    def _probe(self, link: Link) -> "asyncio.Future[Any]":
        if not self._decides:
            return link.send(_PING)
        return link.send(*self._admissions.probe(f"{{{secrets.token_hex(8)}}}"))
