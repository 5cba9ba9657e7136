"""What a worker does when its store goes, and when it comes back.

It goes: calls are decided by postures and shares at once (`store/outage/fallback.py`), beginning from what the store
has told last. It comes back: before calls are decided by it again, it is told what was spent meanwhile, and the other
workers get a moment to do the same. Until then shares go on to decide (`store/outage/handover.py`).
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from time import monotonic
from typing import Any, cast

from gateway.core.ask import Ask
from gateway.core.shares import Fleet
from gateway.lasting import unheard
from gateway.leases import Leases
from gateway.store import Store, StoreDown
from gateway.store.connection.faults import some_calls_fail
from gateway.store.local.store import LocalStore
from gateway.store.open import Scripted
from gateway.store.outage.doubts import Doubts
from gateway.store.outage.fallback import Fallback
from gateway.store.outage.handover import Told, Untold
from gateway.store.outage.heartbeat import Heartbeat
from gateway.store.outage.repayment import MOST_RESTORED, Repayment
from gateway.waiting import end

HAND_OVER_S = 1.0
"""The longest that a store which is back does not decide alone yet: workers find out within `pipeline.MAX_PROBE_GAP_S`,
or MAX_DIAL_GAP_S, of each other, and are to have some time left to tell it."""
ASK_AGAIN_S = 0.03
CAREFUL_S = HAND_OVER_S
"""For how long a worker keeps to its share since it heard that another one of its gateway has lost the store."""

Tell = Callable[[str, Mapping[str, object]], None]


class Outage:
    """One worker's side of its store's absence.

    own    this worker among those of its own gateway, and how many such gateways there are said to be
    tell   told of `store.degraded`, `store.recovered` and `store.emptied`, once for each change, and of other events
    asks   what callers have the store asked, with its last answers
    use    makes calls be decided by this store from now on
    share  tells the other workers of this gateway what this one knows: their `heard`
    """

    def __init__(
        self,
        store: Store,
        fallback: Fallback,
        leases: Leases,
        own: Fleet,
        *,
        tell: Tell,
        asks: Callable[[], Iterable[Ask]],
        use: Callable[[Store], None],
        share: Callable[[Mapping[str, Any]], None],
    ) -> None:
        self._store = store
        self._fallback = fallback
        self._leases = leases
        self._tell = tell
        self._asks = asks
        self._use = use
        self._share = share
        self._store_scripted = cast("Scripted", store)  # one that is never away is never asked for it
        self._heartbeat = Heartbeat(self._store_scripted, own, self._beaten, lambda: tell("store.emptied", {}))
        self._away_since: float | None = None
        self._reason: Mapping[str, object] = {}
        self._gone_us = 0
        self._careful = False
        self._doubts = Doubts(store, use, tell)
        self._told = cast("Store", Told(store, fallback, self._stayed, leases.held_here))
        self._repayment = Repayment(store, fallback)
        self._work: asyncio.Task[None] | None = None

    @property
    def up(self) -> bool:
        """Whether the store decides calls."""
        return self._away_since is None

    @property
    def well(self) -> bool:
        """Whether it decides all of them, as far as is known."""
        return self.up and not self._doubts

    def start(self) -> None:
        """Begin to be known to other workers, if there can be any. Needs the running loop."""
        if not isinstance(self._store, LocalStore):
            self._heartbeat.start()

    async def close(self) -> None:
        """Tell the store what it does not know yet, if it is there. Idempotent."""
        await end(self._work)
        if isinstance(self._store, LocalStore):
            return
        if self._store_scripted.up:
            await self._repayment.pay(monotonic() + HAND_OVER_S)
        await self._heartbeat.close()

    def status(self) -> dict[str, object]:
        """For those who look: whether the store is there, since when it is not and why, and who shares its limits."""
        status = {"kind": self._store.kind, "up": self.well} | (self._doubts.status() if self._doubts else {})
        if self._away_since is not None:
            status["down_s"] = round(monotonic() - self._away_since, 3)
            status |= {"reason": self._reason.get("kind", "other"), "detail": self._reason.get("detail", "")}
        fleet = self._fallback.fleet
        return status | {
            "fleet": {"workers": fleet.all_workers, "rank": fleet.rank, "known": self._heartbeat.known},
            "owing": self._fallback.owing,
        }

    def in_words(self) -> str:
        """`status` for people, in a line."""
        if self._away_since is None:
            return self._doubts.in_words() if self._doubts else "up"
        detail = ": ".join(str(self._reason[name]) for name in ("kind", "detail") if self._reason.get(name))
        return f"down for {monotonic() - self._away_since:.0f} s ({detail})"

    # -- events of the store

    def on_store_event(self, name: str, fields: Mapping[str, object]) -> None:
        """The store's `on_event`: begin or end to do without it, and pass other events on."""
        if name == "store.degraded":
            self._left(fields)
        elif name == "store.recovered":
            self._returned()
        else:
            if name == "store.refused":
                self._reason = dict(fields)
            self._tell(name, fields)

    def _left(self, fields: Mapping[str, object]) -> None:
        if self._work is not None:
            self._work.cancel()
        new = self._away_since is None
        if new:  # first of all: what is away comes back, whatever goes wrong here
            self._away_since, self._reason = monotonic(), dict(fields)
        self._heartbeat.quiet, self._careful = True, False
        self._leases.store_left()
        self._doubts.forget()
        self._gone_us = self._heartbeat.store_us()
        if new:
            if self._heartbeat.ahead_us is not None:
                self._tell_siblings(self._heartbeat.ahead_us, lost=True)
            self._tell("store.degraded", fields)

    def could_not(self, ask: Ask, down: StoreDown) -> None:
        """A call is decided without the store. If that is there all the same, so may be the calls that follow: what
        their shares have spent must not be forgotten, and others have to know if it will not end by itself."""
        if not self.up or down.kind != "script":
            return
        self._fallback.stay(ask)
        if not self._careful and some_calls_fail(down):
            self._doubts.note(ask.kind, down)

    def _tell_siblings(self, ahead_us: int, *, lost: bool) -> None:
        self._fallback.known.remember(self._asks(), ahead_us)
        self._share({"ahead_us": ahead_us, "left": self._fallback.known.tell(MOST_RESTORED), "lost": lost})

    def heard(self, told: Mapping[str, Any]) -> None:
        """Another worker of this gateway says what it knows, by its clock; maybe because it has lost the store.

        Then it spends its share, and nobody else will know before it is back. If the store is there for this one, it
        was perhaps a single answer that came late. So that all together stay within the limits, this worker keeps to
        its own share for a while, too; and tells what it knows, for who went has not heard of it.
        """
        ahead_us = self._heartbeat.ahead_us
        if ahead_us is None:
            return
        by_us = told["ahead_us"] - ahead_us
        self._fallback.known.hear(
            (key, left, full_us + by_us, at_us + by_us) for key, left, full_us, at_us in told["left"]
        )
        if told["lost"] and self.up:
            if not self._careful:
                self._careful = True
                self._tell_siblings(ahead_us, lost=False)
                self._use(self._told)
            self._start_work(self._go_carefully)

    async def _go_carefully(self) -> None:
        await asyncio.sleep(CAREFUL_S)
        self._careful = False
        self._use(cast("Store", self._doubts) if self._doubts else self._store)
        await self._repayment.pay_the_rest()

    def _returned(self) -> None:
        """Called before any caller can ask the store. Who beat long before may have lost it once more since."""
        self._gone_us = max(self._gone_us, self._heartbeat.lately_us())
        self._use(cast("Store", Untold(self._store, self._stayed)))
        self._start_work(self._hand_over)

    def _beaten(self, fleet: Fleet) -> None:
        if not self.up:
            return
        self._fallback.share_with(fleet)
        if self._fallback.owing and self._work is None:
            self._start_work(self._repayment.pay_the_rest)

    # -- back to the store

    async def _hand_over(self) -> None:
        """Whatever goes wrong on the way: as long as the store is there, it is used in the end."""
        try:
            await self._catch_up(monotonic() + HAND_OVER_S)
        except StoreDown:
            if not self._store_scripted.up:
                return
        except Exception as crash:
            unheard("return of the store", crash)
        self._open()
        await self._repayment.pay_the_rest()

    async def _catch_up(self, until_s: float) -> None:
        if await self._heartbeat.has_lost_data():
            await self._repayment.restore(until_s)
        await self._repayment.pay(until_s)
        await self._leases.store_returned(self._store)
        self._use(self._told)
        await self._repayment.pay(until_s)  # what was spent meanwhile; from now on nothing is
        await self._wait_for_others(until_s)

    async def _wait_for_others(self, until_s: float) -> None:
        """Until as many workers as there were have paid, too: their first beat comes behind their debts."""
        workers = self._fallback.fleet.all_workers
        while workers > 1 and monotonic() < until_s:
            beat = await self._heartbeat.beat(self._gone_us)
            if beat.back >= workers:
                break
            await asyncio.sleep(ASK_AGAIN_S)

    def _open(self) -> None:
        assert self._away_since is not None, "nobody comes back who was not away"
        down_s, self._away_since, self._reason = round(monotonic() - self._away_since, 3), None, {}
        self._heartbeat.quiet = False
        self._use(self._store)
        self._tell("store.recovered", {"down_s": down_s})

    def _stayed(self, key: str) -> bool:
        return self._away_since is not None and self._store_scripted.stayed(key, self._away_since)

    def _start_work(self, work: Callable[[], Awaitable[None]]) -> None:
        if self._work is not None:
            self._work.cancel()
        self._work = task = asyncio.create_task(_until_down(work), name="hand over to the store")
        task.add_done_callback(self._worked)

    def _worked(self, task: "asyncio.Task[None]") -> None:
        if self._work is task:
            self._work = None


async def _until_down(work: Callable[[], Awaitable[None]]) -> None:
    with suppress(StoreDown):
        await work()
