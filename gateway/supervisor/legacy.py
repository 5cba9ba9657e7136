"""What workers leave to those who follow them: they tell the process that forks, which gives it to the next."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gateway.names import KnownNames
from gateway.supervisor.switchboard import Switchboard
from gateway.supervisor.worker import Post


class Legacy:
    """What has been told so far."""

    def __init__(self, switchboard: Switchboard) -> None:
        self._names = KnownNames()
        self._raised: defaultdict[int, set[tuple[str, str]]] = defaultdict(set)
        switchboard.on("name", self._names.hear)
        switchboard.on("alert", self._hear_alert)

    def to(self, post: Post) -> Post:
        """The post with what is known of names, and with the alerts that its last worker has raised."""
        return replace(post, names=self._names.told(), raised=frozenset(self._raised[post.index]))

    def _hear_alert(self, told: Mapping[str, Any]) -> None:
        raised, alert = self._raised[told["worker"]], (told["alert"], told["upstream"])
        (raised.add if told["raised"] else raised.discard)(alert)
