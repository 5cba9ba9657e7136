"""How much of a body waits for its reader: one read of the socket, whatever the reader does."""

import asyncio

from gateway.core.http.framing import LengthBody
from gateway.wire.body import UNREAD_BYTES, BodyStream
from tests.fakes.waiting import turns

PIECE = b"x" * (UNREAD_BYTES + 1)


class Source:
    """Counts what it is told."""

    def __init__(self) -> None:
        self.paused = self.resumed = 0

    def pause_reading(self) -> None:
        self.paused += 1

    def resume_reading(self) -> None:
        self.resumed += 1


def stream(pieces: int) -> tuple[BodyStream, Source]:
    source = Source()
    return BodyStream(LengthBody(pieces * len(PIECE)), source, asyncio.get_running_loop()), source


async def test_nobody_waits_for_it() -> None:
    body, source = stream(3)
    body.feed(PIECE)
    assert (body.paused, source.paused) == (True, 1)
    assert await body.read() == PIECE
    assert source.resumed == 0, "not before the reader wants more"
    reading = asyncio.create_task(body.read())
    await turns()
    assert (body.paused, source.resumed) == (False, 1)
    body.feed(PIECE)
    assert await reading == PIECE


async def test_a_reader_that_waits_may_be_held_up_by_a_slow_taker_next() -> None:
    body, source = stream(4)
    reading = asyncio.create_task(body.read())
    await turns()
    body.feed(PIECE)
    assert (body.paused, source.paused) == (True, 1)
    assert await reading == PIECE
    assert source.resumed == 0
