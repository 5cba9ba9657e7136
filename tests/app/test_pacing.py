"""Attempts that come too early wait for their turn. Time is the loop's own and passes only when nothing else is to do."""

import asyncio

import pytest

from gateway.core.upstream import Pace, Upstream
from gateway.guards.pacing import LOOKS, MAX_LINES, Pacing, _Line
from gateway.upstream.failure import UpstreamFailed
from gateway.waiting import Waits
from tests.fakes.hurried import run
from tests.fakes.waiting import pause

S = 1_000_000
IN_NO_TIME = "the loop's clock jumps: nobody really waits"


def paced(
    rate: int, *, burst: int = 1, key: tuple[str, ...] = (), queue: int = 100, max_wait_ms: int = 100_000
) -> Upstream:
    pace = Pace(rate, S, burst, key, queue, max_wait_ms * 1000)
    return Upstream("up", "http", "h", 80, "h", pace=pace)


async def turns(pacing: Pacing, upstream: Upstream, count: int, *whose: str) -> list[float]:
    """When each of so many attempts, all begun now, got its turn; -1 for those that were refused."""
    loop = asyncio.get_running_loop()
    began = loop.time()

    async def one() -> float:
        try:
            await pacing.turn(upstream, whose)
        except UpstreamFailed as failure:
            return -1 if failure.error == "busy" else -2
        return round(loop.time() - began, 6)

    return await asyncio.gather(*(one() for _ in range(count)))


def test_one_after_the_other() -> None:
    async def test() -> None:
        assert await turns(Pacing(Waits()), paced(4), 5) == [0, 0.25, 0.5, 0.75, 1]

    run(test)


def test_a_burst_after_a_rest() -> None:
    async def test() -> None:
        pacing = Pacing(Waits())
        assert await turns(pacing, paced(2, burst=3), 5) == [0, 0, 0, 0.5, 1]
        await pause(10, IN_NO_TIME)
        assert await turns(pacing, paced(2, burst=3), 4) == [0, 0, 0, 0.5]

    run(test)


def test_the_queue_is_bounded() -> None:
    async def test() -> None:
        assert await turns(Pacing(Waits()), paced(1, queue=2), 5) == [0, 1, 2, -1, -1]
        assert await turns(Pacing(Waits()), paced(1, queue=0), 2) == [0, -1]

    run(test)


def test_nobody_waits_for_longer_than_allowed() -> None:
    async def test() -> None:
        loop = asyncio.get_running_loop()
        assert await turns(Pacing(Waits()), paced(1, max_wait_ms=2500), 6) == [0, 1, 2, -1, -1, -1]
        assert loop.time() == pytest.approx(2.5)  # those that were refused were refused at once, or at the bound

    run(test)


def test_nobody_waits_beyond_the_end_of_a_drain() -> None:
    """Neither who waits when it begins nor who comes then."""

    async def test() -> None:
        loop, waits = asyncio.get_running_loop(), Waits()
        pacing, upstream = Pacing(waits), paced(1)
        line = asyncio.ensure_future(turns(pacing, upstream, 6))
        await pause(0.5, IN_NO_TIME)
        waits.cut(2)
        assert await turns(pacing, upstream, 1) == [-1]
        assert await line == [0, 1, 2, -1, -1, -1]
        assert loop.time() == pytest.approx(2.5)

    run(test)


@pytest.mark.parametrize(("queue", "max_wait_ms"), [(0, 100_000), (2, 100_000), (100, 2_500), (100, 400), (3, 1_000)])
def test_who_is_refused_finds_a_place_when_told_to_come_again(queue: int, max_wait_ms: int) -> None:
    async def test() -> None:
        pacing, upstream = Pacing(Waits()), paced(1, queue=queue, max_wait_ms=max_wait_ms)
        line = [asyncio.ensure_future(turns(pacing, upstream, 6))]
        await pause(0.2, IN_NO_TIME)
        with pytest.raises(UpstreamFailed) as refused:
            await pacing.turn(upstream, ())
        await pause(refused.value.again_s, IN_NO_TIME)
        await pacing.turn(upstream, ())
        await asyncio.gather(*line)

    run(test)


def test_each_value_of_the_key_has_a_pace_of_its_own() -> None:
    async def test() -> None:
        pacing, upstream = Pacing(Waits()), paced(1, key=("connection",))
        assert await turns(pacing, upstream, 2, "a") == [0, 1]
        assert await turns(pacing, upstream, 1, "b") == [0]
        assert await turns(pacing, upstream, 2) == [0, 1]  # those without one are paced together

    run(test)


def test_a_caller_that_leaves_gives_its_place_to_the_next() -> None:
    async def test() -> None:
        pacing, upstream = Pacing(Waits()), paced(1)
        await pacing.turn(upstream, ())
        left, stays = (asyncio.ensure_future(pacing.turn(upstream, ())) for _ in range(2))
        await pause(0.5, IN_NO_TIME)
        left.cancel()
        await stays
        assert asyncio.get_running_loop().time() == pytest.approx(1)

    run(test)


def test_memory_is_bounded_by_what_is_in_use() -> None:
    async def test() -> None:
        pacing, upstream = Pacing(Waits()), paced(1, key=("connection",))
        for number in range(MAX_LINES):
            await pacing.turn(upstream, (str(number),))
        assert len(pacing) == MAX_LINES
        await pause(0.5, IN_NO_TIME)
        await pacing.turn(upstream, ("busy",))
        await pause(0.6, IN_NO_TIME)
        for number in range(10):
            await pacing.turn(upstream, ("one more", str(number)))
        assert len(pacing) <= MAX_LINES

    run(test)


def test_those_in_use_are_not_looked_at_for_every_other(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0
    resting = _Line.resting

    def counted(line: _Line) -> bool:
        nonlocal looks
        looks += 1
        return bool(resting.fget(line))  # type: ignore[attr-defined]

    async def test() -> None:
        pacing, upstream = Pacing(Waits()), paced(1, key=("connection",))
        for number in range(MAX_LINES):
            await pacing.turn(upstream, (str(number),))
        monkeypatch.setattr(_Line, "resting", property(counted))
        await pacing.turn(upstream, ("one more",))
        assert (looks, len(pacing)) == (LOOKS, MAX_LINES + 1), "nobody rests yet"

    run(test)


def test_an_upstream_without_pace_is_not_waited_for() -> None:
    async def test() -> None:
        pacing = Pacing(Waits())
        assert await turns(pacing, Upstream("up", "http", "h", 80, "h"), 3) == [0, 0, 0]
        assert len(pacing) == 0

    run(test)
