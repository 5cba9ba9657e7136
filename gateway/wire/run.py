"""Running a call's coroutine without an `asyncio.Task`, and what it waits for most.

A task goes through the event loop for every step: to begin, and once more for each answer it waited for. A call waits
two or three times, and its answers arrive in callbacks that know who is waiting. So here the callback resumes the
coroutine itself. `await` means the same as in a task, cancellation too; what needs `asyncio.current_task()`
(`asyncio.timeout`, task groups) has to be put into a task of its own.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from gateway.lasting import unheard

Value = TypeVar("Value")

_ENDED: Any = object()


class Promise(asyncio.Future[Value]):
    """A future that resumes a `Run` at once, one of them. For everybody else it is a future like any other."""

    run: "Run | None" = None

    def keep(self, value: Value) -> None:
        """`set_result`, and whoever runs on this runs on before this returns."""
        self.set_result(value)
        if self.run is not None:
            self.run.step()

    def fail(self, error: BaseException) -> None:
        """`set_exception`, likewise."""
        self.set_exception(error)
        if self.run is not None:
            self.run.step()


class Run:
    """One coroutine on its way. `ended` is called once, when it has returned or failed."""

    __slots__ = ("_cancelled", "_coroutine", "_ended", "_steps", "_waiting")

    def __init__(self, coroutine: Coroutine[Any, Any, None], ended: Callable[[], None]) -> None:
        self._coroutine: Coroutine[Any, Any, None] | None = coroutine
        self._steps = coroutine.__await__()
        self._ended = ended
        self._waiting: asyncio.Future[Any] | None = None
        self._cancelled = False

    def step(self, _future: object = None) -> None:
        """Run until the coroutine waits for something that is not there yet."""
        if self._coroutine is None:
            return
        self._waiting = None
        try:  # `next` says that it has ended without making an exception of it, which `send` would
            waiting = self._throw(self._coroutine) if self._cancelled else next(self._steps, _ENDED)
        except BaseException as error:
            if not isinstance(error, StopIteration):
                self._report(error)
            waiting = _ENDED
        if waiting is _ENDED:
            self._end()
            return
        if type(waiting) is Promise:
            waiting.run = self
        elif waiting is None:  # `asyncio.sleep(0)`
            asyncio.get_running_loop().call_soon(self.step)
        else:
            waiting._asyncio_future_blocking = False  # as a task does: others may wait for the same future
            waiting.add_done_callback(self.step)
        self._waiting = waiting
        if self._cancelled:
            self._cancelled = False
            self.cancel()

    def cancel(self) -> None:
        """Raise CancelledError where the coroutine waits, or will wait next. Without effect when it has ended."""
        waiting = self._waiting
        if waiting is None or not waiting.cancel():  # it runs right now, or is about to
            self._cancelled = True
        elif type(waiting) is Promise:
            waiting.run = None
            waiting.get_loop().call_soon(self.step)

    def _end(self) -> None:
        """What goes wrong here must not end the socket whose bytes kept the promise: it may be the store's."""
        self._coroutine = None
        try:
            self._ended()
        except Exception as error:
            self._report(error)

    def _throw(self, coroutine: Coroutine[Any, Any, None]) -> Any:
        self._cancelled = False
        return coroutine.throw(asyncio.CancelledError())

    def _report(self, error: BaseException) -> None:
        if isinstance(error, asyncio.CancelledError):
            return
        unheard("a call's coroutine", error)
        if not isinstance(error, Exception):
            raise error
