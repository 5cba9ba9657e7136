"""The supervisor's ends of the lines to its workers (`gateway.siblings`): passes messages on, never waits for anybody.

A worker that does not read has at most MOST_WAITING_BYTES waiting for it: it is not asked then, and what is told to it
is dropped. Whoever sends something else than messages loses its line.
"""

import select
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import count
from typing import Any

from gateway.siblings.frames import (
    ALL,
    FIRST_LINE,
    LAST_LINE,
    LEADER,
    MOST_WAITING_BYTES,
    SUPERVISOR,
    Decoder,
    Kind,
    Message,
    pack,
    unpack,
)

READ_BYTES = 64 * 1024
ABNORMAL = select.POLLERR | select.POLLHUP | select.POLLNVAL

Handler = Callable[[dict[str, Any]], Mapping[str, Any] | None]


class Line:
    """To one worker process. `theirs` is its end, for the child to keep; not `connected`: it is about to be forked."""

    def __init__(self, number: int, index: int) -> None:
        self.number = number
        self.index = index
        self.connected = False
        self.ours, self.theirs = socket.socketpair()
        self.ours.setblocking(False)
        self.theirs.setblocking(False)
        self.decoder = Decoder()
        self.waiting = bytearray()

    @property
    def full(self) -> bool:
        """Whether its worker has not read for so long that it gets nothing more."""
        return len(self.waiting) > MOST_WAITING_BYTES


class Switchboard:
    """All lines. `poll` is where the supervisor's own descriptors are watched too; `leader`: see `appoint`.

    on_dropped  told of each message that a worker did not get because it does not read
    """

    def __init__(self, on_dropped: Callable[[], None] = lambda: None) -> None:
        self._on_dropped = on_dropped
        self.poll = select.poll()
        self.leader: Line | None = None
        self._lines: dict[int, Line] = {}
        self._by_fd: dict[int, Line] = {}
        self._numbers = count(FIRST_LINE)
        self._handlers: dict[str, Handler] = {}

    def on(self, what: str, handler: Handler) -> None:
        """Answer what workers ask the supervisor. The handler must not wait; what it raises is told to who asked."""
        self._handlers[what] = handler

    # -- lines

    def open(self, index: int) -> Line:
        """A line for the worker that is about to be forked."""
        line = Line(next(self._numbers), index)
        self._lines[line.number] = self._by_fd[line.ours.fileno()] = line
        return line

    def connect(self, line: Line) -> None:
        """In the supervisor: the worker has been forked."""
        line.theirs.close()
        line.connected = True
        self.poll.register(line.ours.fileno(), select.POLLIN)

    def close(self, line: Line) -> None:
        """Its worker is gone, or as good as. Everybody who waits for its answers hears of it. Idempotent."""
        if self._lines.pop(line.number, None) is None:
            return
        if line is self.leader:
            self.leader = None
        del self._by_fd[line.ours.fileno()]
        if line.connected:
            self.poll.unregister(line.ours.fileno())
        line.ours.close()
        line.theirs.close()
        for other in tuple(self._lines.values()):
            self._send(other, Message(Kind.GONE, line.number, other.number, 0, b"gone"))

    def leave(self, mine: Line) -> None:
        """In the child: nothing of the supervisor's ends is left, nor of the other workers' lines."""
        for line in self._lines.values():
            line.ours.close()
            if line is not mine:
                line.theirs.close()

    def lines(self) -> Iterator[Line]:
        """The lines of all living workers."""
        return (line for line in tuple(self._lines.values()) if line.connected)

    # -- passing on

    def serve(self, fd: int, happened: int) -> None:
        """See to a line that `poll` named. Other descriptors are not ours."""
        line = self._by_fd.get(fd)
        if line is None:
            return
        if happened & select.POLLOUT:
            self._flush(line)
        if happened & (select.POLLIN | ABNORMAL):
            self._read(line)

    def tell_all(self, what: str, payload: Mapping[str, Any]) -> None:
        """The supervisor's own word to every worker: never dropped."""
        body = pack([what, payload])
        for line in self.lines():
            self._send(line, Message(Kind.TELL, SUPERVISOR, line.number, 0, body))

    def tell(self, line: Line, what: str, payload: Mapping[str, Any]) -> None:
        """Tell one worker; as `tell_all` otherwise."""
        self._send(line, Message(Kind.TELL, SUPERVISOR, line.number, 0, pack([what, payload])))

    def appoint(self, those: Iterable[Line]) -> None:
        """Unless somebody leads, let the first of those do from now on what only one may do.

        Whose line is closed has died, though it may not have been reaped yet: it would lead for ever.
        """
        if self.leader is not None:
            return
        self.leader = next((line for line in those if line.number in self._lines), None)
        if self.leader is not None:
            self.tell(self.leader, "reload.lead", {})

    def _read(self, line: Line) -> None:
        try:
            received = line.ours.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            received = b""
        if not received:
            self.close(line)
            return
        try:
            for message in line.decoder.feed(received):
                self._pass_on(line, message._replace(sender=line.number))
        except ValueError:
            self.close(line)

    def _pass_on(self, line: Line, message: Message) -> None:
        if message.to == SUPERVISOR:
            if message.kind is Kind.TELL:
                self._call(message)
            elif message.kind is Kind.ASK and not line.full:
                self._answer(line, message)
            return
        others = self._meant(message.to, line)
        if message.kind is Kind.ASK:
            if not line.full:
                self._ask(line, others, message)
            return
        for other in others:
            if other.full:
                self._on_dropped()
            else:
                self._send(other, message)

    def _meant(self, to: int, sender: Line) -> list[Line]:
        if to == LEADER:
            return [self.leader] if self.leader is not None else []
        if FIRST_LINE <= to <= LAST_LINE:
            return [line for line in self.lines() if line.number == to]
        return [line for line in self.lines() if line is not sender and to in (ALL, line.index)]

    def _ask(self, asker: Line, others: list[Line], message: Message) -> None:
        expected = pack([(line.number, line.index) for line in others])
        self._send(asker, Message(Kind.EXPECT, SUPERVISOR, asker.number, message.question, expected))
        for other in others:
            if other.full:
                self._send(asker, Message(Kind.GONE, other.number, asker.number, message.question, b"busy"))
            else:
                self._send(other, message)

    def _answer(self, line: Line, message: Message) -> None:
        expected = pack([(SUPERVISOR, -1)])
        self._send(line, Message(Kind.EXPECT, SUPERVISOR, line.number, message.question, expected))
        body = pack(self._call(message))
        self._send(line, Message(Kind.ANSWER, SUPERVISOR, line.number, message.question, body))

    def _call(self, message: Message) -> tuple[Mapping[str, Any], str]:
        """(answer, what went wrong): whatever that is, the supervisor goes on."""
        try:
            what, payload = unpack(message.body)
            return self._handlers[what](payload) or {}, ""
        except Exception as error:
            return {}, f"{type(error).__name__}: {error}"

    def _send(self, line: Line, message: Message) -> None:
        line.waiting += message.encode()
        self._flush(line)

    def _flush(self, line: Line) -> None:
        """As much as the socket takes now; `poll` says when it takes more."""
        try:
            while line.waiting:
                del line.waiting[: line.ours.send(line.waiting)]
        except BlockingIOError:
            pass
        except OSError:
            line.waiting.clear()  # it hangs up; `poll` says so next
        if line.connected and line.number in self._lines:
            self.poll.modify(line.ours.fileno(), select.POLLIN | (select.POLLOUT if line.waiting else 0))
