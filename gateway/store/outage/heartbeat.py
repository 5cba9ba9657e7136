"""Every worker of every gateway makes itself known in the store, and so learns how many there are.

While the store is away nobody can be counted: what was known last decides what this worker's share of a limit is.

Beats are off the hot path: one small command a second and worker. A fleet of more than a thousand workers beats slower,
so that all of them together are no more than a thousand commands a second.
"""

import asyncio
import random
import secrets
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from time import monotonic
from typing import NamedTuple

from gateway.core.shares import Fleet
from gateway.lasting import lasting
from gateway.store import StoreDown
from gateway.store.local.store import steady_us
from gateway.store.open import Scripted
from gateway.store.scripts.sources import HEARTBEAT
from gateway.waiting import end

HEARTBEAT_ARGV = ("op", "now_us", "worker", "lives_us", "sent_us", "since_us", "data")
HEARTBEAT_REPLY = ("now_us", "workers", "rank", "back", "data")
TAG = "{fleet}:"
"""Behind the prefix, in front of everything: one hash tag. The names of limits cannot begin like this."""

BEAT_S = 1.0
MOST_BEATS_A_SECOND = 1000
LIVES_BEATS = 5
"""So many beats may be missed before a worker does not count any more."""
FEWER_BEATS = 3
LATEST_BEATS = 1.5
LEAVE_S = 0.2


class Beat(NamedTuple):
    """What a beat's answer says: the store's clock, workers alive, this one's rank, how many of them are back, and a
    number that is another one when the store has lost its data."""

    now_us: int
    workers: int
    rank: int
    back: int
    data: int


class Heartbeat:
    """One worker's place in the fleet.

    own       the workers of its own gateway, its number among them, and of how many gateways it is said to be one: what
              is known before the first beat. Workers are never less than these
    on_beat   told of the fleet after every beat that was answered
    emptied   told when a beat finds that the store has not the data that it had at the last one
    quiet     others are not to hear of this one now: the store is back, and does not know yet what was spent here
    ahead_us  what the store's clock shows more than `steady_us`; None = not known yet
    data      tells the store's data from any that it begins with anew
    """

    def __init__(
        self, store: Scripted, own: Fleet, on_beat: Callable[[Fleet], None], emptied: Callable[[], None] = lambda: None
    ) -> None:
        self.fleet = own
        self.quiet = False
        self.ahead_us: int | None = None
        self.data: int | None = None
        self.worker = secrets.token_hex(8)
        self._store = store
        self._own = own
        self._on_beat = on_beat
        self._emptied = emptied
        self._fewer_since_s: float | None = None
        self._beating: asyncio.Task[None] | None = None

    @property
    def known(self) -> bool:
        """Whether the store ever told of the fleet."""
        return self.ahead_us is not None

    def start(self) -> None:
        """Begin to beat, now. Needs the running loop."""
        self._beating = lasting("heartbeat", self._beat_on)

    async def close(self) -> None:
        """Stop, and tell the others, if the store can be told. Idempotent."""
        if self._beating is None:
            return
        await end(self._beating)
        self._beating = None
        if self._store.up:
            with suppress(StoreDown, TimeoutError):
                async with asyncio.timeout(LEAVE_S):
                    await self._ask("leave", 0)

    async def beat(self, since_us: int = 0) -> Beat:
        """Make this worker known now. Raises StoreDown.

        since_us  the store's clock; `Beat.back` counts the workers heard of after it
        """
        beat = await self._ask("beat", since_us)
        self.ahead_us = beat.now_us - steady_us()
        known, self.data = self.data, beat.data
        self._believe(
            Fleet(beat.workers, beat.rank) if beat.workers > self._own.workers else self._own._replace(gateways=1)
        )
        self._on_beat(self.fleet)
        if known not in (None, beat.data):
            self._emptied()
        return beat

    def _believe(self, said: Fleet) -> None:
        """More at once, fewer after a while: a store that has lost its data learns of the others only beat by beat."""
        now_s = monotonic()
        if said.workers >= self.fleet.workers:
            self.fleet, self._fewer_since_s = said, None
        elif self._fewer_since_s is None:
            self._fewer_since_s = now_s
        elif now_s - self._fewer_since_s >= FEWER_BEATS * self._every_s:
            self.fleet, self._fewer_since_s = said, None

    async def has_lost_data(self) -> bool:
        """Whether the store does not have what it had at the last beat. Raises StoreDown."""
        return self.data is not None and (await self._ask("look", 0)).data != self.data

    def store_us(self) -> int:
        """What the store's clock shows now, as far as it is known; else 0."""
        return steady_us() + self.ahead_us if self.ahead_us is not None else 0

    def lately_us(self) -> int:
        """What the store's clock showed so shortly ago that every worker that has it all the time has beaten since."""
        return self.store_us() - int(LATEST_BEATS * self._every_s * 1e6)

    def _ask(self, op: str, since_us: int) -> Awaitable[Beat]:
        base = self._store.key_prefix + TAG
        lives_us = int(LIVES_BEATS * self._every_s * 1e6)
        keys = (base + "heard", base + "came", base + "data")
        said = (op, 0, self.worker, lives_us, self.store_us(), since_us, secrets.randbits(50))
        return self._store.run(HEARTBEAT, (len(keys), *keys, *said), _decode)

    @property
    def _every_s(self) -> float:
        return max(BEAT_S, self.fleet.workers / MOST_BEATS_A_SECOND)

    async def _beat_on(self) -> None:
        while True:
            if self._store.up and not self.quiet:
                with suppress(StoreDown):
                    await self.beat()
            every_s = self._every_s
            await asyncio.sleep(random.uniform(0.9 * every_s, 1.1 * every_s))  # noqa: S311 - so that not all beat at once


def _decode(reply: Sequence[int], _context: object) -> Beat:
    return Beat(*reply)
