"""Limits decided by a Redis-protocol server: every decision is one EVALSHA on one multiplexed connection."""

import asyncio
import secrets
from collections.abc import Sequence
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
from gateway.store.connection.dial import Dialer
from gateway.store.connection.faults import fault_of, sent_away_from
from gateway.store.connection.link import Argument, Decode, Link, pack
from gateway.store.connection.pipeline import OnEvent, Pipeline, ignore_event
from gateway.store.connection.slots import tag_at
from gateway.store.operated import Operated
from gateway.store.scripts.admissions import Admissions, load_scripts
from gateway.store.scripts.forms import AdmitForm
from gateway.store.scripts.guards import LIST, decode_changes, decode_pause, encode_force, encode_pause, encode_report
from gateway.store.scripts.limits import encode_release, encode_renew, encode_settle
from gateway.store.scripts.sources import FORCE, PAUSE, RELEASE, RENEW, REPORT, SETTLE, Script

_EVALSHA = "EVALSHA"
_PING, _TIME = pack(("PING",)), pack(("TIME",))


class RedisStore(Operated):
    """The `Store` on Redis >= 6.2 or Valkey, standalone or behind Sentinels.

    A timed-out or lost `admit` may have been charged: the error is towards counting too much, never too little. It is
    never sent twice, except when the server said that it did not know the script, so that nothing ran.

    A caller that is cancelled while it waits for `admit`, or gets StoreDown, may hold slots of concurrency limits:
    `release` with the same lease gives them back (commands keep their order), else they expire by themselves.

    on_event  called at each change: `store.degraded` {kind, detail}, `store.refused` (the same) if that turns out to be
              a lasting mistake, `store.recovered` {down_s}, `store.script_reloaded` {}
    decides   whether it counts as up only while decisions work; else while it answers: a full server still frees
    known     where names have led last, for when DNS is away; it learns here, too
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
        known: KnownNames | None = None,
    ) -> None:
        """Raises ValueError for a URL it cannot use; the text shows no secret."""
        super().__init__(key_prefix)
        self.kind = kind
        self.now_us = 0
        self._decides = decides
        self._sent_away_from: int | None = None
        self._admissions = Admissions(key_prefix)
        self._pipeline = Pipeline(
            Dialer(parse_url(url), known),
            timeout_s=timeout_us / SECOND_US,
            prepare=load_scripts,
            probe=self._probe,
            on_event=on_event,
            fault_of=self._fault_of,
        )

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
            form: AdmitForm = ask.form or self._admissions.form(ask)
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

    def report(self, reports: Sequence[Report]) -> "asyncio.Future[tuple[Change | None, ...]]":
        return self.run(REPORT, encode_report(reports, self._prefix, now_us=self.now_us), decode_changes, len(reports))

    def pause(self, guard: Guard, for_us: int, left: int = 0) -> "asyncio.Future[tuple[bool, int]]":
        return self.run(PAUSE, encode_pause(guard, for_us, self._prefix, now_us=self.now_us, left=left), decode_pause)

    async def force(self, guard: Guard, state: State | None, for_us: int) -> Change | None:
        arguments = encode_force(guard, state, for_us, self._prefix, now_us=self.now_us)
        (change,) = await self.run(FORCE, arguments, decode_changes, 1)
        return cast("Change | None", change)

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

    async def _kept(self, keys: Sequence[str]) -> tuple[int, Sequence[bytes | None]]:
        some = [self._prefix + key for key in keys or (LIST,)]  # MGET takes no less than one
        ask = self._pipeline.ask
        (seconds, micros), packed = await asyncio.gather(ask(_TIME), ask(pack(("MGET", *some))))
        return self.now_us or int(seconds) * SECOND_US + int(micros), packed[: len(keys)]

    def _ask_about(self, key: str, command: str, *arguments: Argument) -> "asyncio.Future[Any]":
        return self._pipeline.ask(pack((command, self._prefix + key, *arguments)))

    def _tell(self, script: Script, arguments: list[Argument] | None) -> None:
        if arguments is not None:
            command = pack((_EVALSHA, script.sha1_hex, *arguments))
            self._pipeline.tell(command, script.source)

    def _probe(self, link: Link) -> "asyncio.Future[Any]":
        if not self._decides:
            return link.send(_PING)
        new, slot = secrets.token_hex(8), self._sent_away_from
        return link.send(*self._admissions.probe(f"{{{new}}}" if slot is None else f"{new}:{{{tag_at(slot)}}}"))

    def _fault_of(self, text: str) -> StoreDown:
        """A server of a cluster that has sent us away is up when it decides there: elsewhere it may do all the time."""
        slot = sent_away_from(text)
        if slot is not None:
            self._sent_away_from = slot
        return fault_of(text)
