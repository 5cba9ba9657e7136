"""Wrong clocks: gateways an hour apart, and a server whose clock is set back."""

import asyncio
from collections.abc import Iterator
from datetime import datetime

import pytest

from tests.chaos.conftest import Figures, Fleet
from tests.chaos.exact import evenly, judge, policies, spans
from tests.fakes.clocks import SteppingServer, off_by
from tests.fakes.exactness import most_surely_in_any, needlessly_refused
from tests.fakes.ledger import Ledger
from tests.fakes.load import Load
from tests.fakes.waiting import pause

WINDOW_S, LIMIT = 3.0, 20
RULE = f"algorithm: rolling_window, limit: {LIMIT}, window: {WINDOW_S:g}s"


async def test_gateways_whose_clocks_are_an_hour_off(fleet: Fleet, ledger: Ledger, figures: Figures) -> None:
    text = policies(ledger.url, {"w": RULE})
    ahead, behind, right = await asyncio.gather(
        fleet(text, env=off_by("+1h")), fleet(text, env=off_by("-1h")), fleet(text)
    )
    async with Load([ahead.port, behind.port, right.port]) as load:
        await load.run(evenly(["t0", "t1", "t2"], 3 * LIMIT / WINDOW_S, 3 * WINDOW_S, 3))
    found = judge(load.calls, ledger, LIMIT, WINDOW_S)
    figures("clocks of gateways +1 h, -1 h, right", calls=len(load.calls), **found)
    assert found["most_in_any_window"] <= LIMIT
    assert found["needless_refusals"] == 0
    first = [datetime.fromisoformat(one.calls()[0]["timestamp"]).timestamp() for one in (ahead, behind, right)]
    assert 3500 < first[0] - first[2] < 3700, "the clocks were wrong indeed"
    assert 3500 < first[2] - first[1] < 3700
    waits = {int(call.field("Retry-After")) for call in load.calls if not call.admitted}
    assert waits <= set(range(1, int(WINDOW_S) + 1))


@pytest.fixture
def stepping_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SteppingServer]:
    """A server of the test's own, with a clock of its own."""
    server = SteppingServer(tmp_path_factory.mktemp("s"))
    server.start()
    yield server
    server.kill()


async def test_the_servers_clock_is_set_back(
    fleet: Fleet, ledger: Ledger, stepping_server: SteppingServer, figures: Figures
) -> None:
    """By twenty windows. Nothing passes too much, and nobody waits longer than one window for it."""
    gateway = await fleet(policies(ledger.url, {"w": RULE}), store=stepping_server.url)
    loop = asyncio.get_running_loop()
    async with Load([gateway.port]) as load:
        running = asyncio.create_task(load.run(evenly(["t0"], 3 * LIMIT / WINDOW_S, 5 * WINDOW_S, 1)))
        await pause(1.6 * WINDOW_S, "more than a window of load")
        before, stepped_s = int(stepping_server.command("TIME")[0]), loop.time()
        stepping_server.set_clock(-60)
        assert int(stepping_server.command("TIME")[0]) < before - 50
        await running
    admitted, refused = spans(load.calls, ledger)
    needless = needlessly_refused(admitted, refused, LIMIT, WINDOW_S)
    passed_s = [one.to_s - stepped_s for one in admitted if one.from_s > stepped_s]
    figures(
        "the server's clock set back 60 s",
        calls=len(load.calls),
        most_in_any_window=most_surely_in_any(admitted, WINDOW_S),
        needless_refusals=len(needless),
        first_admitted_after_s=min(passed_s),
    )
    assert most_surely_in_any(admitted, WINDOW_S) <= LIMIT
    assert all(one.to_s < stepped_s + 2 * WINDOW_S for one in needless)
    assert len(passed_s) >= 2 * LIMIT  # three and a half windows were left
