"""A worker's event loop, which asks for names in threads of their own, one for each question.

uvloop asks in libuv's pool, where no more than two questions are under way in the whole worker: two names whose DNS
does not answer, for which the C library waits ten seconds and more, would keep all others waiting, the store's too.
Nothing bounds the threads but who asks: upstreams, receivers of webhooks and issuers have one question each.
"""

import asyncio
import errno
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import uvloop


class AskingLoop(uvloop.Loop):
    """What uvloop does itself, such as to dial a store, it still asks in its own pool, with nobody else there."""

    async def getaddrinfo(self, host: Any, port: Any, **kind: Any) -> Any:
        """As any loop has it. Raises OSError (ENOMEM) when the host has no thread for the question."""
        with suppress(socket.gaierror):  # an address is no question
            return socket.getaddrinfo(host, port, **{**kind, "flags": kind.get("flags", 0) | socket.AI_NUMERICHOST})
        return await _asked(self, host, port, kind)


def _asked(loop: asyncio.AbstractEventLoop, host: Any, port: Any, kind: Mapping[str, Any]) -> "asyncio.Future[Any]":
    answered: asyncio.Future[Any] = loop.create_future()

    def tell(found: Any, error: Exception | None) -> None:
        if answered.done():  # who asked has left
            return
        if error is None:
            answered.set_result(found)
        else:
            answered.set_exception(error)

    def ask() -> None:
        found, failed = None, None
        try:
            found = socket.getaddrinfo(host, port, **kind)
        except Exception as error:  # who asked gets it
            failed = error
        with suppress(RuntimeError):  # the loop has been closed meanwhile
            loop.call_soon_threadsafe(tell, found, failed)

    try:
        threading.Thread(target=ask, name="dns", daemon=True).start()
    except RuntimeError as error:
        raise OSError(errno.ENOMEM, str(error)) from None
    return answered
