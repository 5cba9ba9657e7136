"""A loop whose time is its own and passes only when nothing else is to do."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any


class _Hurried(selectors.DefaultSelector):
    """Instead of waiting, moves the clock to when the wait would be over."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.now += timeout or 0.0
        return super().select(0)


class HurriedLoop(asyncio.SelectorEventLoop):
    """A loop on which sleeping takes no time, but the clock says it did."""

    def __init__(self) -> None:
        self.hurried = _Hurried()
        super().__init__(self.hurried)

    def time(self) -> float:
        return self.hurried.now


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with asyncio.Runner(loop_factory=HurriedLoop) as runner:
        runner.run(test())
