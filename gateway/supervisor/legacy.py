"""What workers leave to those who follow them: they tell the process that forks, which gives it to the next."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from math import inf
from typing import Any

from gateway.names import KnownNames
from gateway.supervisor.seat import Seat
from gateway.supervisor.switchboard import Switchboard
from gateway.supervisor.worker import Post


class Legacy:
    """What has been told so far."""

    def __init__(self, switchboard: Switchboard) -> None:
        self._switchboard = switchboard
        self._names = KnownNames()
        # by worker, what is raised, and since when nobody has judged it; inf: who has raised it does
        self._raised: defaultdict[int, dict[tuple[str, str], float]] = defaultdict(dict)
        switchboard.on("name", self._names.hear)
        switchboard.on("alert", self._hear_alert)

    def to(self, post: Post) -> Post:
        """The post with what is known of names."""
        return replace(post, names=self._names.told())

    def hand_over(self, seat: Seat, now_s: float) -> None:
        """The alerts, to a worker that serves now: until then who was there before has judged them, if it lives.

        now_s  monotonic
        """
        raised = self._raised[seat.post.index]
        for one, since_s in raised.items():
            raised[one] = min(since_s, now_s)
        if raised and seat.line is not None:
            told = [(*one, now_s - since_s) for one, since_s in raised.items()]
            self._switchboard.tell(seat.line, "alerts", {"raised": told})

    def _hear_alert(self, told: Mapping[str, Any]) -> None:
        raised, alert = self._raised[told["worker"]], (told["alert"], told["upstream"])
        if told["raised"]:
            raised[alert] = inf
        else:
            raised.pop(alert, None)
