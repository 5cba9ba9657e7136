"""What operators have switched in this worker for the time being. All workers of a gateway are switched alike."""

import asyncio
from collections.abc import Callable
from typing import Any

from gateway.siblings import Siblings

LEARN_S = 1.0


class Switches:
    """The lowest log level, and whether readiness fails although calls are served.

    level      of the settings; set_level puts another one in force
    set_drain  told when a drain begins or ends
    """

    def __init__(
        self,
        siblings: Siblings,
        level: str,
        set_level: Callable[[str], None],
        set_drain: Callable[[bool], None] = lambda _: None,
    ) -> None:
        self.draining = False
        self._siblings = siblings
        self._usual = self._level = level
        self._set_level = set_level
        self._set_drain = set_drain
        self._back: asyncio.TimerHandle | None = None
        self._learned = False
        self._ordered: set[str] = set()  # what somebody switched while it was being learnt
        siblings.on("switch", self._order)
        siblings.on("switches", lambda _: self._passed_on() if self._learned else {})

    def state(self) -> dict[str, Any]:
        """The switches as the admin API tells them."""
        return {"log_level": self._level, "draining": self.draining}

    async def learn(self) -> None:
        """Be as the others are: this worker may have been started later. Needs the line to them.

        Of several that begin at the same time none knows anything yet, and each says so to the others.
        """
        answers = await self._siblings.ask_all("switches", {}, timeout_s=LEARN_S)
        known = next((one.payload for one in answers if one.worker != self._siblings.index and one.payload), None)
        if known is not None:
            self._switch({name: known[name] for name in known if name not in self._ordered})
        self._learned = True

    def _passed_on(self) -> dict[str, Any]:
        switch: dict[str, Any] = {"draining": self.draining}
        if self._back is not None:
            switch |= {"log_level": self._level, "for_s": self._back.when() - asyncio.get_running_loop().time()}
        return switch

    def _order(self, switch: dict[str, Any]) -> None:
        self._ordered |= switch.keys()
        self._switch(switch)

    def _switch(self, switch: dict[str, Any]) -> None:
        if "draining" in switch and switch["draining"] != self.draining:
            self.draining = switch["draining"]
            self._set_drain(self.draining)
        if "log_level" in switch:
            if self._back is not None:
                self._back.cancel()
            self._use(switch["log_level"])
            self._back = asyncio.get_running_loop().call_later(switch["for_s"], self._usual_again)

    def use(self, level: str) -> None:
        """The settings say another level. One that an operator has put in force for a while stays until then."""
        self._usual = level
        if self._back is None:
            self._use(level)

    def _usual_again(self) -> None:
        self._back = None
        self._use(self._usual)

    def _use(self, level: str) -> None:
        self._level = level
        self._set_level(level)
