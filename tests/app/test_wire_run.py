"""Coroutines that run without a task: `await` and cancellation mean what they mean in one."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from gateway.wire.run import Promise, Run
from tests.fakes.waiting import turns


class Watched:
    """A run, and how often it has ended."""

    def __init__(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self.ends = 0
        self.over = asyncio.Event()
        self.run = Run(coroutine, self._ended)
        self.run.step()

    def _ended(self) -> None:
        self.ends += 1
        self.over.set()


@pytest.fixture
def heard() -> list[str]:
    return []


async def hear(heard: list[str], waiting: "asyncio.Future[str]", then: "asyncio.Future[str] | None" = None) -> None:
    """Wait for one future, and for another whatever became of the first."""
    try:
        heard.append(await waiting)
    except asyncio.CancelledError:
        heard.append("cancelled")
    except OSError as error:
        heard.append(str(error))
    if then is not None:
        heard.append(await then)


async def test_a_promise_that_is_kept_resumes_at_once(heard: list[str]) -> None:
    promise: Promise[str] = Promise()
    watched = Watched(hear(heard, promise))
    promise.keep("kept")
    assert (heard, watched.ends) == (["kept"], 1)


async def test_a_promise_that_fails_raises_at_once(heard: list[str]) -> None:
    promise: Promise[str] = Promise()
    watched = Watched(hear(heard, promise))
    promise.fail(OSError("failed"))
    assert (heard, watched.ends) == (["failed"], 1)


async def test_many_wait_for_one_future(heard: list[str]) -> None:
    """Runs and a task among each other."""
    future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    watched = [Watched(hear(heard, future)) for _ in range(2)]
    task = asyncio.create_task(hear(heard, future))
    await turns(5)
    watched.append(Watched(hear(heard, future)))
    future.set_result("all")
    await task
    await turns(5)
    assert (heard, [one.ends for one in watched]) == (["all"] * 4, [1, 1, 1])


@pytest.mark.parametrize("kind", [Promise, asyncio.Future], ids=["promise", "future"])
async def test_cancelled_once_where_it_waits(kind: Callable[[], "asyncio.Future[str]"], heard: list[str]) -> None:
    first, second = kind(), kind()
    watched = Watched(hear(heard, first, second))
    watched.run.cancel()
    assert heard == []  # whoever cancels is not interrupted
    await turns(5)
    assert heard == ["cancelled"]
    if isinstance(second, Promise):
        second.keep("went on")
    else:
        second.set_result("went on")
    await turns(5)
    assert (heard, watched.ends) == (["cancelled", "went on"], 1)


async def test_cancelled_before_a_result_that_is_there_was_heard_of(heard: list[str]) -> None:
    future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    watched = Watched(hear(heard, future))
    future.set_result("too late")
    watched.run.cancel()
    await turns(5)
    assert (heard, watched.ends) == (["cancelled"], 1)


async def test_cancelled_twice_before_it_goes_on_it_hears_of_it_once(heard: list[str]) -> None:
    second: Promise[str] = Promise()
    watched = Watched(hear(heard, Promise(), second))
    watched.run.cancel()
    watched.run.cancel()
    await turns(5)
    second.keep("went on")
    assert (heard, watched.ends) == (["cancelled", "went on"], 1)


async def test_cancelled_while_it_runs_it_hears_of_it_where_it_waits_next(heard: list[str]) -> None:
    runs: list[Run] = []
    start = asyncio.get_running_loop().create_future()

    async def cancels_itself() -> None:
        await start
        runs[0].cancel()
        heard.append("runs on")
        await hear(heard, Promise())

    watched = Watched(cancels_itself())
    runs.append(watched.run)
    start.set_result(None)
    await turns(5)
    assert (heard, watched.ends) == (["runs on", "cancelled"], 1)


async def test_a_task_that_is_waited_for_is_cancelled_too(heard: list[str]) -> None:
    task = asyncio.create_task(hear(heard, Promise()))
    watched = Watched(hear(heard, task))  # type: ignore[arg-type]
    await turns(5)
    watched.run.cancel()
    await turns(5)
    assert heard[0] == "cancelled"
    assert (task.done(), watched.ends) == (True, 1)


async def test_a_run_that_has_ended_hears_of_nothing(heard: list[str]) -> None:
    promise: Promise[str] = Promise()
    watched = Watched(hear(heard, promise))
    promise.keep("kept")
    watched.run.cancel()
    watched.run.step()
    await turns(5)
    assert (heard, watched.ends) == (["kept"], 1)


async def test_what_a_coroutine_raises_does_not_reach_who_keeps_its_promise() -> None:
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(context))
    promise: Promise[str] = Promise()

    async def fails() -> None:
        raise ValueError(await promise)

    watched = Watched(fails())
    promise.keep("of ours")
    assert watched.ends == 1
    assert [str(context["exception"]) for context in told] == ["of ours"]


async def test_sleeping_for_no_time_lets_others_run(heard: list[str]) -> None:
    async def sleeps() -> None:
        await turns()
        heard.append("slept")

    watched = Watched(sleeps())
    assert heard == []
    await turns(5)
    assert (heard, watched.ends) == (["slept"], 1)


async def test_what_follows_the_end_does_not_reach_who_keeps_the_promise_either(heard: list[str]) -> None:
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(context))
    promise: Promise[str] = Promise()

    def ended() -> None:
        raise ValueError("of ours")

    Run(hear(heard, promise), ended).step()
    promise.keep("kept")
    assert (heard, [str(context["exception"]) for context in told]) == (["kept"], ["of ours"])
