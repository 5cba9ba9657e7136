"""Delivers one queue to one receiver: takes letters, tries them, says what became of each.

Every worker of every gateway has a courier for every queue; the store hands each letter to one of them at a time. What
a courier has taken and not settled when its process dies, another one takes after a while.
"""

import asyncio
import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from time import time
from typing import Any, Protocol

from gateway.core.webhooks.receivers import Receiver
from gateway.core.webhooks.redelivery import Step, Tried, next_step
from gateway.modules.delivery.post import Post
from gateway.store import StoreDown
from gateway.store.shared.queues import LEASE_MARGIN_MS, Office, Settled, Taken
from gateway.waiting import end, happens_within

POLL_S, LONGEST_POLL_S = 1.0, 8.0
"""How often to look for what other workers have put there, or have left behind: more and more seldom when there is
nothing, and not all queues at the same moment."""
MOST_AT_ONCE = 16
SETTLE_AGAIN_S = 0.2
SETTLE_TRIES = 25

Compose = Callable[[Taken], tuple[bytes, Mapping[str, str]]]
"""The body and further header fields that a letter is delivered with."""


class Tells(Protocol):
    """Who hears of every try."""

    def tried(self, queue: str, taken: Taken, tried: Tried, step: Step, wait_us: int, settled: Settled | None) -> None:
        """settled: None = the store could not be told, so the letter will be tried again."""

    def crashed(self, queue: str, error: BaseException) -> None:
        """Delivering met an internal error, or what is no queue in its place; it goes on. The same is told once, until
        letters are taken again."""


class Courier:
    """Takes letters out of one queue to its receiver. `worker` is a name that no other process has."""

    def __init__(
        self,
        office: Office,
        queue: str,
        worker: str,
        receiver: Receiver,
        way: Post,
        compose: Compose,
        tells: Tells,
    ) -> None:
        self.queue = queue
        self.receiver = receiver
        self._office = office
        self._worker = worker
        self._way = way
        self._compose = compose
        self._tells = tells
        self._closing = False
        self._more = asyncio.Event()
        self._trying: set[asyncio.Task[None]] = set()
        self._round: asyncio.Task[None] | None = None
        self._lease_ms = receiver.timeout_us // 1000 + LEASE_MARGIN_MS
        self._poll_s = POLL_S
        self._said = ""

    def start(self) -> None:
        """Begin to deliver. Needs the running loop."""
        self._round = asyncio.create_task(self._go_round(), name=f"courier {self.queue}")

    def wake(self) -> None:
        """There may be something to deliver."""
        self._more.set()

    async def close(self, grace_s: float = 0.0) -> None:
        """Take nothing more. What is being handed out now, and tries under way, may end within `grace_s`; others
        will be tried anew by somebody else. Idempotent."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + grace_s
        self._closing = True
        self._more.set()
        if self._round is not None:
            await asyncio.wait((self._round,), timeout=grace_s)
            await end(self._round)
        if self._trying and grace_s:
            await asyncio.wait(self._trying, timeout=max(0.0, until_s - loop.time()))
        for task in self._trying:
            task.cancel()
        if self._trying:
            await asyncio.wait(self._trying)
        await self._way.close()

    async def _go_round(self) -> None:
        while not self._closing:
            self._more.clear()
            wait_s = self._poll_s
            room = min(MOST_AT_ONCE, self.receiver.concurrency) - len(self._trying)
            if room > 0:
                try:
                    wait_s = await self._take(room)
                except StoreDown as down:
                    self._poll_s = wait_s = POLL_S
                    if down.kind == "script":
                        self._crashed(down)
                except Exception as error:  # something strange in the store must not end this for good
                    self._crashed(error)
                else:
                    self._said = ""
            await happens_within(self._more, wait_s)

    def _crashed(self, error: BaseException) -> None:
        if repr(error) != self._said:
            self._said = repr(error)
            self._tells.crashed(self.queue, error)

    async def _take(self, room: int) -> float:
        """Begin to try what there is. How long to wait until there may be more."""
        concurrency, lease_ms = self.receiver.concurrency, self._lease_ms
        wait_ms, letters = await self._office.take(
            self.queue, self._worker, room, concurrency=concurrency, lease_ms=lease_ms
        )
        for taken in letters:
            task = asyncio.create_task(self._try(taken))
            self._trying.add(task)
            task.add_done_callback(self._tried)
            await asyncio.sleep(0)  # calls that have come go between two tries, not behind all of them
        idle = wait_ms < 0 and not letters
        self._poll_s = min(2 * self._poll_s, LONGEST_POLL_S) if idle else POLL_S
        poll_s = random.uniform(0.75, 1) * self._poll_s  # noqa: S311
        return min(poll_s, wait_ms / 1000) if wait_ms >= 0 else poll_s

    def _tried(self, task: asyncio.Task[None]) -> None:
        self._trying.discard(task)
        self._more.set()
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._tells.crashed(self.queue, error)

    async def _try(self, taken: Taken) -> None:
        try:
            body, fields = self._compose(taken)
        except ValueError:  # it is not ours
            tried, step, wait_us = Tried(error="unreadable"), Step.DEAD, 0
        else:
            tried = await self._way.deliver(taken.id, body, fields)
            step, wait_us = next_step(tried, taken.tries, taken.age_us, self.receiver.give_up_us)
        settled = await self._settle(taken, tried, step, wait_us)
        self._tells.tried(self.queue, taken, tried, step, wait_us, settled)

    async def _settle(self, taken: Taken, tried: Tried, step: Step, wait_us: int) -> Settled | None:
        """Tell the store, again and again as long as the letter is ours."""
        log = as_log(taken, tried, step, wait_us)
        for _ in range(SETTLE_TRIES):
            with suppress(StoreDown):
                return await self._office.settle(
                    self.queue,
                    self._worker,
                    taken,
                    step,
                    wait_ms=wait_us // 1000,
                    blamed=tried.blames_receiver,
                    why=tried.in_words(),
                    keep=self.receiver.keep,
                    keep_ms=self.receiver.keep_us // 1000,
                    log=log,
                )
            await asyncio.sleep(SETTLE_AGAIN_S)
        return None


def as_log(taken: Taken, tried: Tried, step: Step, wait_us: int) -> dict[str, Any]:
    """One try, for people."""
    return {
        "id": taken.id,
        "at": round(time(), 3),
        "attempt": taken.tries,
        "status": tried.status or None,
        "error": tried.error or None,
        "took_ms": round(tried.took_us / 1000, 1),
        "result": step.value,
        "next_s": wait_us / 1e6 if step is Step.RETRY else None,
    }
