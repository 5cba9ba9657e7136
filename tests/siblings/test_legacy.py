"""What workers leave to those who follow them."""

import socket
from typing import Any

from gateway.core.policy import PolicySet
from gateway.settings import Settings
from gateway.siblings import Siblings
from gateway.supervisor.legacy import Legacy
from gateway.supervisor.seat import Seat
from gateway.supervisor.worker import Post
from tests.fakes.waiting import eventually
from tests.siblings.conftest import Exchange, Worker

RATE, REFUSED = "alert.error_rate", "alert.auth_failures"


async def test_alerts_are_handed_over_with_the_time_that_nobody_has_judged_them(
    worker: Worker, exchange: Exchange
) -> None:
    legacy = Legacy(exchange.board)
    with socket.socket() as listening:
        seat = Seat(Post(Settings(), PolicySet("0" * 12, (), {}, {}, {}), 1, listening, None, ""))
    heard: list[Any] = []

    async def begins(now_s: float) -> Siblings:
        """Who sits there from now on serves."""
        sibling = await worker(1, alerts=heard.append)
        seat.line = exchange.lines[-1]
        await exchange.run(lambda: legacy.hand_over(seat, now_s))
        return sibling

    async def tell(sibling: Siblings, alert: str, upstream: str, raised: bool) -> None:
        sibling.tell_supervisor("alert", {"worker": 1, "alert": alert, "upstream": upstream, "raised": raised})
        assert (await sibling.ask_supervisor("x", {}, timeout_s=60)).missing, "it has heard all that was told before"

    first = await begins(1.0)
    for one in ((RATE, "crm", True), (REFUSED, "crm", True), (RATE, "erp", True), (REFUSED, "crm", False)):
        await tell(first, *one)
    await begins(2.0)
    third = await begins(9.0)
    await eventually(lambda: len(heard) == 2)
    await tell(third, RATE, "erp", True)  # it lasts, as far as that one has seen
    await tell(third, RATE, "crm", False)
    await tell(third, RATE, "crm", False)
    await begins(20.0)
    await eventually(lambda: len(heard) == 3)
    assert [told["raised"] for told in heard] == [
        [[RATE, "crm", 0.0], [RATE, "erp", 0.0]],
        [[RATE, "crm", 7.0], [RATE, "erp", 7.0]],
        [[RATE, "erp", 0.0]],
    ]
