"""Who shows a wrong admin token is on record: at once, and then a line now and then, however many requests come.

A token has 16 characters at least, so trying them all is hopeless: no program is slowed down or shut out for it.
"""

import asyncio

from aiohttp import web

from gateway.observe.log.logger import event
from gateway.observe.log.text import readable

EVERY_S = 10.0


class Denials:
    """Counts wrong tokens that were shown to one worker, and tells of them."""

    def __init__(self) -> None:
        self._count = 0
        self._last: tuple[str | None, str] = (None, "")
        self._next: asyncio.TimerHandle | None = None

    def tell(self, request: web.Request) -> None:
        """A request was refused because of its token."""
        self._count += 1
        self._last = request.remote, readable(request.raw_path.partition("?")[0])
        if self._next is None:
            self._report()

    def _report(self) -> None:
        self._next = None
        if self._count:
            actor, target = self._last
            told = {"actor": actor, "target": target, "count": self._count}
            event("admin.denied", "A wrong admin token was shown", "warning", **told)
            self._count = 0
            self._next = asyncio.get_running_loop().call_later(EVERY_S, self._report)
