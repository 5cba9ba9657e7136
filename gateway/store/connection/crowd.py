"""Those who ask in one turn of the event loop: asked for in one command, they wait as one.

Under load many decisions leave together. One run of the script answers them all, for less than it costs to run it for
each; and for a fraction of that where callers with much traffic ask the same question again and again.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any, Protocol, final

from gateway.store import StoreDown
from gateway.store.connection.faults import unexpected
from gateway.wire.run import Promise

MOST_CALLS, MOST_QUESTIONS = 250, 64
"""In one command: the server does nothing else while it runs a script."""

Asked = Sequence[tuple[Any, int]]
"""Each question (its context), and how many ask it."""


class Form(Protocol):
    """How questions of one kind are put: commands, and what the answers mean.

    source  of the script that the commands run by its sha
    """

    @property
    def source(self) -> str: ...

    def question(self, context: Any) -> Any:
        """What is asked: those for whom it is equal ask the same."""

    def once(self, context: Any) -> bytes:
        """The command that asks this question once."""

    def decode(self, reply: Any, context: Any) -> Any:
        """The answer in its reply."""

    def several(self, asked: Asked) -> bytes:
        """The command that asks them all."""

    def decode_several(self, reply: Any, asked: Asked) -> Sequence[Any]:
        """One answer for each who asks, question by question; where the server answers with an error, that error."""


def _waiting(promises: "Sequence[Promise[Any]]") -> "list[Promise[Any]]":
    return [promise for promise in promises if not promise.done()]


@final
class Crowd:
    """To a link it is a promise, whose answer is one for each: question by question, and then as they came."""

    __slots__ = ("_asking", "_calls", "_form")

    def __init__(self, form: Form, context: Any, first: "Promise[Any]") -> None:
        self._asking = {form.question(context): (context, [first])}
        self._calls = 1
        self._form = form

    def join(self, context: Any, promise: "Promise[Any]") -> bool:
        """False = the crowd is full."""
        question = self._form.question(context)
        asking = self._asking.get(question)
        if self._calls == MOST_CALLS or (asking is None and len(self._asking) == MOST_QUESTIONS):
            return False
        self._calls += 1
        if asking is None:
            self._asking[question] = context, [promise]
        else:
            asking[1].append(promise)
        return True

    def command(self) -> tuple["Promise[Any] | Crowd", Callable[[Any, Any], Any], Any, bytes]:
        """(who waits, decode, context, command) when it is sent: whoever has given up by then is not asked for."""
        form = self._form
        asking = {about: (context, left) for about, (context, all_) in self._asking.items() if (left := _waiting(all_))}
        asked = [(context, len(left)) for context, left in asking.values()]
        if sum(times for _, times in asked) > 1:
            self._asking = asking
            return self, form.decode_several, asked, form.several(asked)
        context, (promise, *_) = next(iter((asking or self._asking).values()))
        return promise, form.decode, context, form.once(context)

    def done(self) -> bool:
        """Whether nobody waits any more."""
        return all(promise.done() for promise in self)

    def __iter__(self) -> Iterator["Promise[Any]"]:
        """In the order of the answers."""
        return chain.from_iterable([waiting for _, waiting in self._asking.values()])

    def take(self, reply: Any, asked: Asked) -> "Sequence[tuple[Promise[Any], Exception]]":
        """Give each its own answer; returns to whom the server's answer is an error. Who goes on may make others give
        up."""
        try:
            answers = [*zip(self, self._form.decode_several(reply, asked), strict=True)]
        except Exception as error:  # as with a single one
            self.fail(unexpected(error))
            return ()
        for promise, answer in answers:
            if not isinstance(answer, Exception) and not promise.done():
                promise.keep(answer)
        return [(promise, answer) for promise, answer in answers if isinstance(answer, Exception)]

    def fail(self, fault: StoreDown) -> None:
        """Each gets its own: what is raised twice gathers tracebacks. Who goes on may make others give up."""
        for promise in tuple(self):
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

    def join(self, at: int, unsent: int, context: Any, promise: "Promise[Any]", form: Form) -> bool:
        """Wait for this one of so many unsent commands too. False = there has to be another one: too many wait for it,
        or a server at fault has answered it already."""
        place = at - unsent
        if -place > len(self._pending):
            return False
        crowd, decode, its_context, *rest = self._pending[place]
        if type(crowd) is not Crowd:
            crowd = Crowd(form, its_context, crowd)
            self._pending[place] = (crowd, decode, its_context, *rest)
            self.shared.append(at)
        return crowd.join(context, promise)

    def end(self, commands: list[bytes]) -> None:
        """These are about to be sent: those that several wait for ask for them all."""
        shared, self.shared = self.shared, []
        for at in shared:
            place = at - len(commands)
            if -place <= len(self._pending):
                crowd, _, _, sent, _, source = self._pending[place]
                promise, decode, context, commands[at] = crowd.command()
                self._pending[place] = (promise, decode, context, sent, commands[at], source)
