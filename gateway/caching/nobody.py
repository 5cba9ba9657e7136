"""A call that nobody waits for: it is made so that what is kept is right again."""

import copy
from collections.abc import Coroutine
from typing import Any

from gateway.call import Call
from gateway.listener.request import Request
from gateway.modules.cache.flights import Flight, Outcome
from gateway.wire.ids import Ids


class Nobody:
    """In place of a caller's socket. `flight` is the one that the call has been begun for."""

    transport = None
    keep_alive = True
    write_paused = False

    def __init__(self, call: Call, flight: Flight) -> None:
        self.flight = flight
        self.peer_ip = call.request.connection.peer_ip
        self.scheme = call.request.connection.scheme

    def write(self, data: bytes) -> None:
        """Drop the data: nobody reads it."""

    def write_behind(self, head: bytes, data: bytes) -> None:
        """Drop both."""

    async def drain(self) -> None:
        """Return at once: there is nobody to wait for."""

    def abort(self) -> None:
        """Do nothing: there is no socket."""

    break_off = abort


def begun_for(call: Call) -> Flight | None:
    """The flight that a call was begun for in the background; None = a caller waits for it."""
    connection: object = call.request.connection
    return connection.flight if isinstance(connection, Nobody) else None


def unattended(call: Call, flight: Flight) -> Coroutine[Any, Any, None]:
    """The same call once more, of the same caller, charged to it as any other; ends the flight in any case."""
    gateway = call.gateway
    request = copy.copy(call.request)
    request.ids, request.received = Ids(None, None), gateway.clock()
    request.connection = Nobody(call, flight)  # type: ignore[assignment]  # all that stages use of a connection
    return _handled(gateway.handle, request, flight)


async def _handled(handle: Any, request: Request, flight: Flight) -> None:
    try:
        await handle(request)
    finally:
        flight.end(Outcome.FAILED)
