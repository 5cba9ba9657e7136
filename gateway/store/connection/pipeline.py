"""The store's connection as callers see it: up, and then commands flow at once, or down, and then they fail at once.

An outage costs one timeout for the whole process. From the first sign of trouble every command fails without waiting,
while one background task proves the link again or dials a new one: one attempt at a time, never more than two a second.
The store is up when a probe, which does all that a real decision does, was answered within the timeout.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from time import monotonic
from typing import Any

from gateway.core.store_faults import is_lasting
from gateway.lasting import apart, lasting
from gateway.store import StoreDown
from gateway.store.connection.crowd import Form
from gateway.store.connection.dial import Dialer
from gateway.store.connection.faults import fault_of, needs_redial
from gateway.store.connection.link import Decode, Link
from gateway.waiting import end

MIN_DIAL_GAP_S, MAX_DIAL_GAP_S = 0.5, 0.7
HERD_JITTER_S = 0.05
"""Before the first new attempt: the workers of a fleet see the same loss at the same moment."""
MIN_PROBE_GAP_S, MAX_PROBE_GAP_S = 0.01, 0.5
DEAD_AFTER_TIMEOUTS = 10
MIN_DEAD_S = 0.25

OnEvent = Callable[[str, Mapping[str, object]], None]
"""(name of the event, its fields): `store.degraded`, `store.refused`, `store.recovered`, `store.script_reloaded`."""


def ignore_event(_name: str, _fields: Mapping[str, object]) -> None:
    """For those who do not want to know."""


def refused(fault: StoreDown) -> "asyncio.Future[Any]":
    """The answer to a command that is not sent at all."""
    down = StoreDown(fault.kind, fault.detail)
    down.nothing_ran = True
    answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    answer.set_exception(down)
    return answer


Probe = Callable[[Link], Awaitable[object]]


class Pipeline:
    """One link to the store, kept alive in the background, with a breaker in front.

    timeout_s  the most that any caller waits
    prepare    sends what a link needs before its first command, and again when the server forgot its scripts
    probe      sends one command that shows whether decisions work; its errors are StoreDown
    fault_of   what an error reply means
    """

    def __init__(
        self,
        dialer: Dialer,
        *,
        timeout_s: float,
        prepare: Callable[[Link], None],
        probe: Probe,
        on_event: OnEvent,
        fault_of: Callable[[str], StoreDown] = fault_of,
    ) -> None:
        self._dialer = dialer
        self._timeout_s = timeout_s
        self._prepare = prepare
        self._probe = probe
        self._on_event = apart("hearing of the store", on_event)
        self._fault_of = fault_of
        self._link: Link | None = None
        self._fault: StoreDown | None = StoreDown("connect", "not started")
        self._down_since: float | None = None
        self._told_lasting = False
        self._trouble = asyncio.Event()
        self._tried = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

    # -- for callers

    @property
    def fault(self) -> StoreDown | None:
        """Why commands fail right now; None while the store is up."""
        return self._fault

    def ask(
        self, command: bytes, decode: Decode | None = None, context: Any = None, source: str = ""
    ) -> "asyncio.Future[Any]":
        """Send a packed command. The future holds decode(reply, context), or StoreDown after at most the timeout."""
        if self._fault is None:
            assert self._link is not None, "up means linked"
            return self._link.send(command, decode, context, source)
        return refused(self._fault)

    def ask_in(self, form: Form, context: Any, key: Any) -> "asyncio.Future[Any]":
        """`ask` this question in its form; those with the same key in one turn of the event loop share one command."""
        if self._fault is None:
            assert self._link is not None, "up means linked"
            return self._link.send_in(form, context, key)
        return refused(self._fault)

    def tell(self, command: bytes, source: str = "") -> bool:
        """Send a packed command and forget it. Also over a link in trouble; False = there is none, it is dropped."""
        if self._link is None or self._link.lost:
            return False
        self._link.tell(command, source)
        return True

    # -- life

    def launch(self) -> None:
        """Start keeping the link."""
        self._dialer.watch(self._replaced)
        self._keeper = lasting("store link", self._keep)

    async def tried(self) -> None:
        """Wait until the first attempt has succeeded or failed."""
        await self._tried.wait()

    async def start(self) -> None:
        """Start keeping the link; returns when the first attempt is done. Raises StoreDown when that failed."""
        self.launch()
        await self.tried()
        if self._fault is not None:
            raise StoreDown(self._fault.kind, self._fault.detail)

    async def close(self) -> None:
        """Send what is queued and stop. Commands fail from now on. Idempotent."""
        keeper, self._keeper = self._keeper, None
        self._fault = StoreDown("connect", "the store is closed")
        if keeper is None:
            return
        await end(keeper)
        if self._link is not None:
            await self._link.close()
        await self._dialer.close()

    async def _keep(self) -> None:
        """Dial, tend, and again, until cancelled."""
        longest_s = MIN_DIAL_GAP_S
        while True:
            dialled = monotonic()
            longest_s = MIN_DIAL_GAP_S if await self._attempt() else min(MAX_DIAL_GAP_S, 2 * longest_s)
            self._tried.set()
            await self._dialer.settled()
            gap_s = random.uniform(MIN_DIAL_GAP_S, longest_s)  # noqa: S311
            await asyncio.sleep(max(random.uniform(0, HERD_JITTER_S), dialled + gap_s - monotonic()))  # noqa: S311

    async def _attempt(self) -> bool:
        """One link from its dialling to its loss. Whether it ever was good."""
        self._trouble.clear()
        link = Link(self, timeout_s=self._timeout_s, dead_s=self._dead_s, fault_of=self._fault_of)
        try:
            await self._dialer.connect(link)
            self._link = link
            self._prepare(link)
            return await self._tend(link)
        except StoreDown as fault:
            self._down(fault)
        except Exception as error:  # even a mistake of ours: nothing but the next attempt can bring the store back
            self._down(StoreDown("other", f"{type(error).__name__}: {error}"))
            link.abort()
        return False

    @property
    def _dead_s(self) -> float:
        return max(MIN_DEAD_S, DEAD_AFTER_TIMEOUTS * self._timeout_s)

    async def _tend(self, link: Link) -> bool:
        """Let callers use the link whenever it is good, until it is lost. Whether it ever was good."""
        was_good = False
        while not link.lost:
            if await self._prove(link):
                was_good = True
                await self._trouble.wait()
                self._trouble.clear()
        return was_good

    async def _prove(self, link: Link) -> bool:
        """Probe until an answer is right and in time (True), or the link is lost or useless (False)."""
        gap_s = MIN_PROBE_GAP_S
        while not link.lost:
            asked_s = monotonic()
            try:
                if await self._in_time(self._probe(link)):
                    return self._up(link)
                took_ms, timeout_ms = (monotonic() - asked_s) * 1000, self._timeout_s * 1000
                late = f"an answer took {took_ms:.1f} ms, longer than store.timeout ({timeout_ms:g} ms)"
                self._down(StoreDown("timeout", late))
            except StoreDown as fault:
                self._down(fault)
                if needs_redial(fault):
                    link.lose(fault)
            self._tried.set()
            await asyncio.sleep(random.uniform(gap_s / 2, gap_s))  # noqa: S311
            gap_s = min(2 * gap_s, MAX_PROBE_GAP_S)
        return False

    async def _in_time(self, probe: Awaitable[object]) -> bool:
        """Whether it is answered within the timeout. Where this process was held up itself, the answer may be lying in
        the socket: two turns of the loop have one look at the sockets between them. Raises StoreDown."""
        asked = asyncio.ensure_future(probe)
        try:
            await asyncio.wait((asked,), timeout=self._timeout_s)
            for _ in range(2):
                await asyncio.sleep(0)
            in_time = asked.done()
            await asked
        finally:
            asked.cancel()
            del asked, probe  # it holds its error, that its traceback, and that this frame: a cycle
        return in_time

    def _up(self, link: Link) -> bool:
        """Let callers in, unless the link went while its last answer was on the way to us."""
        if link.lost:
            return False
        link.trust()
        self._trouble.clear()
        self._fault = None
        self._tried.set()
        if self._down_since is not None:
            self._on_event("store.recovered", {"down_s": round(monotonic() - self._down_since, 3)})
            self._down_since = None
        return True

    def _down(self, fault: StoreDown) -> None:
        """Told once, and once more if what keeps the store away turns out to be a mistake that no waiting mends."""
        self._fault = fault
        lasting, news = is_lasting(fault.detail), ""
        if self._down_since is None:
            self._down_since, news = monotonic(), "store.degraded"
        elif lasting and not self._told_lasting:
            news = "store.refused"
        if news:
            self._told_lasting = lasting
            self._on_event(news, {"kind": fault.kind, "detail": fault.detail})

    # -- called by the dialer and the link

    def _replaced(self, why: str) -> None:
        if self._link is not None:
            self._link.lose(StoreDown("connect", why))

    def on_trouble(self, fault: StoreDown) -> None:
        if self._keeper is not None:
            self._down(fault)
            self._trouble.set()

    def on_script_missing(self) -> None:
        """Not news while the link is being proved: a server that just started knows no scripts."""
        if self._fault is None and self._link is not None:
            self._prepare(self._link)
            self._on_event("store.script_reloaded", {})
