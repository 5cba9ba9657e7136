"""What operators have switched, in workers that begin later."""

import asyncio

import pytest

from gateway.admin.watching import switching
from gateway.admin.watching.switching import Switches
from tests.siblings.conftest import Worker


async def test_workers_that_begin_together_learn_from_the_one_that_knows(worker: Worker) -> None:
    levels: list[str] = []
    siblings = await worker(2)
    old = Switches(siblings, "info", levels.append)
    await old.learn()
    await siblings.ask_all("switch", {"draining": True, "log_level": "debug", "for_s": 600}, timeout_s=10)
    both = [Switches(await worker(index), "info", levels.append) for index in range(2)]
    await asyncio.gather(*(one.learn() for one in both))
    assert [one.state() for one in (*both, old)] == [{"log_level": "debug", "draining": True}] * 3


async def test_what_is_switched_meanwhile_is_not_undone_by_what_is_learnt(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(switching, "LEARN_S", 60)
    mine, other, ordered = await worker(0), await worker(1), asyncio.Event()

    async def late(_asked: object) -> dict[str, object]:
        await ordered.wait()
        return {"draining": False, "log_level": "debug", "for_s": 600}

    other.on("switches", late)
    new = Switches(mine, "info", [].append)
    learning = asyncio.create_task(new.learn())
    await mine.ask_all("switch", {"draining": True}, timeout_s=10)
    ordered.set()
    await learning
    assert new.state() == {"log_level": "debug", "draining": True}


async def test_workers_of_which_none_knows_anything_go_by_their_settings(worker: Worker) -> None:
    both = [Switches(await worker(index), "info", [].append) for index in range(2)]
    await asyncio.gather(*(one.learn() for one in both))
    assert [one.state() for one in both] == [{"log_level": "info", "draining": False}] * 2
