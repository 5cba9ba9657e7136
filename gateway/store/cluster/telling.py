"""What a Redis Cluster is told of calls that are over: nobody waits for it, and what did not arrive is sent again."""

import asyncio
from collections import deque
from collections.abc import Sequence
from time import monotonic
from typing import Any, NamedTuple

from gateway.lasting import lasting
from gateway.store import StoreDown
from gateway.store.cluster.node import Message
from gateway.store.cluster.nodes import Nodes
from gateway.store.cluster.topology import slot_of
from gateway.store.connection.link import Argument, pack
from gateway.store.scripts.sources import Script
from gateway.waiting import end

REPEAT_S = 0.05
AT_ONCE = 200
"""Between two times that something is sent again, and how much of it."""
GIVE_UP_S = 60.0
MOST_KEPT = 10_000
"""Beyond it what has waited longest is forgotten."""
CLOSE_S = 1.0


class _Told(NamedTuple):
    slot: int
    message: Message
    repeatable: bool
    until_s: float


class Telling:
    """Sends at once, and also to a server that is late: it may wake up, and finds it behind the admission.

    What surely did not run is sent again: servers that have lost a primary, read their data or hand slots over say
    so. What may have run is sent again if it is `repeatable`.
    """

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes
        self._on_its_way: set[asyncio.Task[None]] = set()
        self._kept: deque[_Told] = deque(maxlen=MOST_KEPT)
        self._repeating: asyncio.Task[None] | None = None
        self._closed = False

    def tell(self, script: Script, arguments: list[Argument] | None, *, repeatable: bool = False) -> None:
        """Run a script whose keys are all in one slot; None = there is nothing to say.

        repeatable  to do it twice is to do it once
        """
        if arguments is not None:
            self._send(_told(script, arguments, repeatable))

    async def sent(self) -> None:
        """Until all that was told before has been answered, or is kept to be sent again."""
        if self._on_its_way:
            await asyncio.wait(self._on_its_way)

    async def close(self) -> None:
        """Give what is on its way a moment. Idempotent."""
        self._closed = True
        if self._on_its_way:
            await asyncio.wait(self._on_its_way, timeout=CLOSE_S)
        repeating, self._repeating = self._repeating, None
        await end(repeating)

    def _send(self, told: _Told) -> None:
        if self._nodes.tell_if_in_trouble(told.slot, told.message):
            if told.repeatable:
                self._keep(told)
            return
        task = asyncio.create_task(self._hear(told, self._nodes.send(told.slot, told.message)), name="told")
        self._on_its_way.add(task)
        task.add_done_callback(self._on_its_way.discard)

    async def _hear(self, told: _Told, sent: "asyncio.Future[Any]") -> None:
        try:
            await self._nodes.answer(told.slot, told.message, sent)
        except StoreDown as fault:
            if told.repeatable or fault.nothing_ran:
                self._keep(told)

    def _keep(self, told: _Told) -> None:
        self._kept.append(told)
        if self._repeating is None and not self._closed:
            self._repeating = lasting("told again", self._repeat)

    async def _repeat(self) -> None:
        """Those whose server is well. A failure keeps them for the next time."""
        while self._kept:
            await asyncio.sleep(REPEAT_S)
            for _ in range(min(AT_ONCE, len(self._kept))):
                told = self._kept.popleft()
                if told.until_s < monotonic():
                    continue
                if self._nodes.well(told.slot):
                    self._send(told)
                else:
                    self._kept.append(told)
        self._repeating = None


def _told(script: Script, arguments: Sequence[Argument], repeatable: bool) -> _Told:
    message = (pack(("EVALSHA", script.sha1_hex, *arguments)), None, None, script.source)
    return _Told(slot_of(str(arguments[1])), message, repeatable, monotonic() + GIVE_UP_S)
