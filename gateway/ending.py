"""How a worker ends: it is told to, callers go elsewhere, calls finish, and what is left then is cut."""

import asyncio
import socket
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from gateway.call import CUT_SLACK_S, Gateway
from gateway.listener.listener import Listener
from gateway.observe.log.logger import event
from gateway.waiting import happens_within

SETTLE_S = 0.1
"""Between the first `Connection: close` and closing idle sockets: requests already on their way get an answer."""


Served = Callable[[], Coroutine[Any, Any, None]]


class HandOver(Protocol):
    """A successor of the whole gateway, which takes over the listening sockets while they are ours still."""

    def begin(self, listening: socket.socket, admin: socket.socket | None, served: Served) -> None:
        """Start it. `served` is run when it serves, and never if it does not come up."""

    def abandon(self) -> None:
        """This gateway ends without it: have it end, too."""


class Ending:
    """One worker's end. Made before anything slow starts, so that it can be told to stop at any time.

    draining  whether the drain has begun
    """

    def __init__(self) -> None:
        self.draining = False
        self._told = False
        self._asked = asyncio.Event()
        self._hurry = asyncio.Event()
        self._now = asyncio.Event()

    def ask(self, impatient: bool) -> None:
        """An operator's word: stop, with the drain's delay or without it. A second one has what is left cut."""
        if self._told:
            self._now.set()
        if self._asked.is_set() or impatient:
            self._hurry.set()
        self._told = True
        self._asked.set()

    def retire(self) -> None:
        """A successor serves: stop without the delay. Nobody has been told to stop by this: see `ask`."""
        self._hurry.set()
        self._asked.set()

    async def asked(self) -> None:
        """Wait until somebody has asked."""
        await self._asked.wait()

    async def drain(self, gateway: Gateway, listener: Listener) -> int:
        """Readiness fails first, so that nobody sends more; then nothing is accepted; then calls finish.

        Returns how many sockets had to be cut.
        """
        self.draining = True
        event("gateway.draining", "Worker drains")
        drain = gateway.settings.drain
        listener.retire()
        await happens_within(self._hurry, drain.delay_us / 1e6)
        await asyncio.sleep(SETTLE_S)
        listener.stop_accepting({call.request.connection for call in gateway.calls if call.record.status})
        grace_s = drain.grace_us / 1e6
        gateway.cut_at = gateway.clock() + grace_s
        gateway.waits.cut(grace_s - CUT_SLACK_S)
        finish = asyncio.create_task(listener.wait_closed(grace_s))
        now = asyncio.create_task(self._now.wait())
        await asyncio.wait((finish, now), return_when=asyncio.FIRST_COMPLETED)
        now.cancel()
        if finish.done():
            return finish.result()
        finish.cancel()
        gateway.cut_at = gateway.clock()
        return await listener.wait_closed(0)
