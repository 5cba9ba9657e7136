"""What operators have switched, in workers that begin later."""

import asyncio

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


async def test_workers_of_which_none_knows_anything_go_by_their_settings(worker: Worker) -> None:
    both = [Switches(await worker(index), "info", [].append) for index in range(2)]
    await asyncio.gather(*(one.learn() for one in both))
    assert [one.state() for one in both] == [{"log_level": "info", "draining": False}] * 2
