"""How much of a body waits for its reader: the socket is paused when the reader is busy, not when it waits."""

import asyncio

from gateway.core.framing import LengthBody
from gateway.wire.body import UNREAD_BYTES, BodyStream

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
    await asyncio.sleep(0)
    assert (body.paused, source.resumed) == (False, 1)
    body.feed(PIECE)
    assert await reading == PIECE


async def test_a_reader_that_waits_takes_a_piece_without_a_pause() -> None:
    body, source = stream(4)
    for _ in range(2):
        reading = asyncio.create_task(body.read())
        await asyncio.sleep(0)
        body.feed(PIECE)
        assert await reading == PIECE
    assert source.paused == 0


async def test_a_second_read_of_the_socket_before_the_reader_has_run_is_the_last() -> None:
    body, source = stream(4)
    reading = asyncio.create_task(body.read())
    await asyncio.sleep(0)
    body.feed(PIECE)
    body.feed(PIECE)
    assert (body.paused, source.paused) == (True, 1)
    assert await reading == 2 * PIECE
