"""Those who ask the same in one turn of the event loop: asked for in one command, they wait as one.

Under load on one caller's limits, most of the decisions that leave together are the same question. One run of the
script answers them all, for a fraction of what it costs to run it for each.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from gateway.store import StoreDown
from gateway.wire.run import Promise

MOST = 250
"""In one command: the server does nothing else while it runs a script."""


class Alike(NamedTuple):
    """How commands are put together that ask the same, of one kind of question.

    decode      decode(reply, context) of the command as it is
    decode_all  decode(reply, (context, times)) of one that asks so many times: one answer for each
    repeated    the command that asks so many times
    source      of the script that the command runs by its sha
    """

    decode: Callable[[Any, Any], Any]
    decode_all: Callable[[Any, Any], Any]
    repeated: Callable[[bytes, int], bytes]
    source: str


class Crowd:
    """To a link it is a promise, whose answer is one for each, in the order in which they came."""

    __slots__ = ("_alike", "_waiting")

    def __init__(self, first: "Promise[Any]", alike: Alike) -> None:
        self._waiting = [first]
        self._alike = alike

    def join(self, promise: "Promise[Any]") -> bool:
        """False = the crowd is full."""
        if len(self._waiting) == MOST:
            return False
        self._waiting.append(promise)
        return True

    def question(
        self, command: bytes, context: Any
    ) -> tuple["Promise[Any] | Crowd", Callable[[Any, Any], Any], Any, bytes]:
        """(who waits, decode, context, command) when it is sent: whoever has given up by then is not asked for."""
        alike = self._alike
        waiting = [promise for promise in self._waiting if not promise.done()]
        if len(waiting) < 2:
            return (waiting or self._waiting)[0], alike.decode, context, command
        self._waiting = waiting
        times = len(waiting)
        return self, alike.decode_all, (context, times), alike.repeated(command, times)

    def done(self) -> bool:
        """Whether nobody waits any more."""
        return all(promise.done() for promise in self._waiting)

    def keep(self, answers: Sequence[Any]) -> None:
        """Each gets its own. Who goes on may make others give up."""
        for promise, answer in zip(self._waiting, answers, strict=True):
            if not promise.done():
                promise.keep(answer)

    def fail(self, fault: StoreDown) -> None:
        """Likewise: what is raised twice gathers tracebacks."""
        for promise in self._waiting:
            if not promise.done():
                promise.fail(fault.again())


class Sharing:
    """The commands that a link has not sent yet, as far as several wait for one.

    pending  who waits for the link's replies, in order: those of what is not sent yet are the last
    shared   which of the unsent commands they are
    """

    def __init__(self, pending: "deque[Any]") -> None:
        self.shared: list[int] = []
        self._pending = pending

    def join(self, at: int, unsent: int, promise: "Promise[Any]", alike: Alike) -> bool:
        """Wait for this one of so many unsent commands too. False = there has to be another one: too many wait for it,
        or a server at fault has answered it already."""
        place = at - unsent
        if -place > len(self._pending):
            return False
        crowd, _, *rest = self._pending[place]
        if type(crowd) is not Crowd:
            crowd = Crowd(crowd, alike)
            self._pending[place] = (crowd, alike.decode_all, *rest)
            self.shared.append(at)
        return crowd.join(promise)

    def end(self, commands: list[bytes]) -> None:
        """These are about to be sent: those that several wait for ask for so many."""
        shared, self.shared = self.shared, []
        for at in shared:
            place = at - len(commands)
            if -place <= len(self._pending):
                crowd, _, context, sent, command, source = self._pending[place]
                promise, decode, context, commands[at] = crowd.question(command, context)
                self._pending[place] = (promise, decode, context, sent, commands[at], source)
