"""Waiting for what others do by themselves: servers, processes, other coroutines. Bounded, and never for time to pass.

Tests sleep nowhere else: ruff bans `asyncio.sleep` and `time.sleep` from them. What really needs time says why.
"""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Never, TypeVar

import redis

PATIENCE_S = 60.0
TURNS = 1_000
"""Of the event loop that `eventually` looks after each of; then only every so often."""
NOT_YET = (OSError, redis.RedisError)
"""What asking raises while the asked is not there, or does not answer."""

T = TypeVar("T")


def until(
    ask: Callable[[], T],
    what: str = "",
    *,
    gap_s: float = 0.005,
    within_s: float = PATIENCE_S,
    not_yet: tuple[type[Exception], ...] = NOT_YET,
) -> T:
    """The first true answer to a question that is asked again and again. Blocks: for threads and for tests of processes.

    what     is waited for, for who reads the failure; else the question itself is shown
    not_yet  exceptions that mean no
    AssertionError: it took too long. Tells the last answer.
    """
    question = _Question(ask, what, within_s)
    while True:
        try:
            if answer := ask():
                return answer
            question.keep(answer)
        except not_yet as error:
            question.keep(error)
        time.sleep(gap_s)


async def eventually(
    ask: Callable[[], T | Awaitable[T]],
    what: str = "",
    *,
    gap_s: float = 0.002,
    within_s: float = PATIENCE_S,
    not_yet: tuple[type[Exception], ...] = NOT_YET,
) -> T:
    """The same for the event loop, which runs on meanwhile. The question may be a coroutine function.

    gap_s  between two looks, when it takes longer; 0 = look after every turn of the loop: for what soon passes
    """
    question, turn = _Question(ask, what, within_s), 0
    while True:
        try:
            answer = ask()
            if inspect.isawaitable(answer):
                answer, turn = await answer, TURNS
            if answer:
                return answer
            question.keep(answer)
        except not_yet as error:
            question.keep(error)
        turn += 1
        await asyncio.sleep(0 if turn < TURNS else gap_s)


class _Question:
    """Asked until the deadline."""

    def __init__(self, ask: Callable[[], object], what: str, within_s: float) -> None:
        self._ask, self._what, self._within_s = ask, what, within_s
        self._deadline = time.monotonic() + within_s

    def keep(self, answer: object) -> None:
        """It was not so yet. AssertionError: there is no time left."""
        if time.monotonic() < self._deadline:
            return
        what = self._what or inspect.getsource(self._ask).strip()
        raise AssertionError(f"not within {self._within_s:g} s: {what}; at last: {answer!r}")


async def turns(count: int = 1) -> None:
    """Let the event loop run what is ready, and what that makes ready, so many times."""
    for _ in range(count):
        await asyncio.sleep(0)


async def for_ever() -> Never:
    """Hang until cancelled. The loop keeps the timer, and so the task: nobody needs to hold it."""
    await asyncio.sleep(86_400)
    raise AssertionError("for ever is over")


async def pause(time_s: float, why: str) -> None:
    """Real time that a test cannot do without: a pace, the length of a load, a fault that lasts. `why` is for readers."""
    assert why
    await asyncio.sleep(time_s)


def hold_up(time_s: float) -> None:
    """This process does not get to run for so long, as in a collection or on a busy host. Nothing in it goes on."""
    time.sleep(time_s)
