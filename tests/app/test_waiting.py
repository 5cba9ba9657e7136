"""Tasks that wait for each other, on asyncio's own loop and on uvloop."""

import asyncio
from socket import socketpair

import pytest

from gateway.waiting import end, happens_within, in_time
from tests.fakes.hurried import HurriedLoop, run
from tests.fakes.waiting import for_ever, hold_up, turns

FOREVER_S = 3_600


async def test_an_event_is_waited_for_no_longer_than_said() -> None:
    event = asyncio.Event()
    assert not await happens_within(event, 0.001)
    asyncio.get_running_loop().call_soon(event.set)
    assert await happens_within(event, FOREVER_S)
    assert await happens_within(event, 0)


async def test_what_came_while_this_process_was_held_up_is_in_time() -> None:
    """uvloop runs the timer before it looks at the socket."""
    loop, heard = asyncio.get_running_loop(), asyncio.Event()
    ours, theirs = socketpair()
    with ours, theirs:
        loop.add_reader(ours, heard.set)
        async with in_time(0.05):
            theirs.send(b"!")
            hold_up(0.2)
            await heard.wait()
        loop.remove_reader(ours)


async def test_what_does_not_come_in_time_is_not_waited_for() -> None:
    async def wait(held_up_s: float) -> None:
        async with in_time(0.01):
            hold_up(held_up_s)
            await for_ever()

    for held_up_s in (0, 0.02):
        with pytest.raises(TimeoutError):
            await wait(held_up_s)


def test_however_long_this_process_was_held_up_as_much_time_is_left_at_most() -> None:
    async def wait(loop: HurriedLoop) -> None:
        async with in_time(1.0):
            loop.hurried.now += 600
            await for_ever()

    async def test() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, HurriedLoop)
        with pytest.raises(TimeoutError):
            await wait(loop)
        assert loop.time() == pytest.approx(601)

    run(test)


async def test_a_cancellation_that_comes_with_the_event_is_not_lost() -> None:
    event = asyncio.Event()
    task = asyncio.create_task(happens_within(event, FOREVER_S))
    await turns()
    event.set()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_task_that_loses_a_cancellation_is_ended_by_the_next() -> None:
    lost = []

    async def work() -> None:
        while True:
            try:
                await for_ever()
            except asyncio.CancelledError:
                if lost:
                    raise
                lost.append("one")

    task = asyncio.create_task(work())
    await turns()
    await end(task)
    assert task.cancelled()
    assert lost == ["one"]
