"""One worker's end of the line: asks, tells, answers."""

import asyncio
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from inspect import isawaitable
from itertools import count
from typing import Any

from gateway.lasting import unheard
from gateway.siblings.frames import ALL, LEADER, MOST_WAITING_BYTES, SUPERVISOR, Decoder, Kind, Message, pack, unpack
from gateway.siblings.question import Answer, Question

MOST_AT_WORK = 256
"""Questions of others that this worker has not answered yet; more are not taken."""
LOOKS, LOOK_S = 100, 0.05
"""How often it is looked for somebody who leads, and the time behind each look."""

Payload = Mapping[str, Any]
Handler = Callable[[dict[str, Any]], Payload | Awaitable[Payload | None] | None]


class Siblings:
    """One worker's end. `line` None = this is the only worker, and there is no supervisor.

    dropped  how often something was told and not sent, or not taken by whom it was for, since this worker began; under
             the one key () (see `Metrics.follow`)
    """

    def __init__(self, index: int = 0, line: socket.socket | None = None) -> None:
        self.index = index
        self.dropped = Counter[tuple[()]]({(): 0})
        self._line = line
        self._handlers: dict[str, Handler] = {}
        self._questions: dict[int, Question] = {}
        self._numbers = count(1)
        self._working: set[asyncio.Future[Any]] = set()
        self._transport: asyncio.WriteTransport | None = None

    @property
    def alone(self) -> bool:
        """Whether this is the only worker."""
        return self._line is None

    def on(self, what: str, handler: Handler) -> None:
        """Answer this question, or hear of what is told under this name. One handler a name.

        What it returns, or its coroutine does, is the answer. What it raises is told to who asked.
        """
        assert what not in self._handlers, f"two handlers for {what}"
        self._handlers[what] = handler

    async def start(self) -> None:
        """Begin to listen. Idempotent."""
        if self._line is not None and self._transport is None:
            loop = asyncio.get_running_loop()
            self._transport, _ = await loop.create_unix_connection(lambda: _LineProtocol(self), sock=self._line)

    async def close(self) -> None:
        """Ask and answer nobody any more. Idempotent."""
        if self._transport is not None:
            self._transport.abort()
        for task in tuple(self._working):
            task.cancel()
        if self._working:
            await asyncio.wait(self._working)

    async def ask_all(self, what: str, payload: Payload, *, timeout_s: float) -> list[Answer]:
        """Ask every worker that lives, this one included; answers by worker, those that are missing too."""
        own = asyncio.ensure_future(self._own_answer(what, dict(payload)))
        others = await self._ask(ALL, what, payload, timeout_s) if self._transport is not None else []
        done, _ = await asyncio.wait((own,), timeout=timeout_s)
        if not done:
            own.cancel()
        answer, missing = own.result() if done else ({}, "no answer in time")
        return sorted([Answer(self.index, answer, missing), *others], key=lambda one: one.worker)

    async def ask_leader(self, what: str, payload: Payload, *, timeout_s: float) -> Answer:
        """Ask the one worker that leads, which may be this one. Just after a start, or when the one that led has died,
        there is none for a moment: that is waited for, five seconds at most."""
        if self.alone:
            answer, missing = await self._own_answer(what, dict(payload))
            return Answer(self.index, answer, missing)
        for _ in range(LOOKS):
            answers = await self._ask(LEADER, what, payload, timeout_s)
            if answers:
                return answers[0]
            await asyncio.sleep(LOOK_S)
        return Answer(-1, {}, "nobody leads right now")

    async def ask_supervisor(self, what: str, payload: Payload, *, timeout_s: float) -> Answer:
        """Ask the process that forked us. Missing at once when there is none."""
        if self._transport is None:
            return Answer(-1, {}, "there is no supervisor")
        answers = await self._ask(SUPERVISOR, what, payload, timeout_s)
        return answers[0] if answers else Answer(-1, {}, "gone")

    def tell_all(self, what: str, payload: Payload) -> None:
        """Tell every worker that lives, this one included. Waits for nothing; see `dropped`."""
        self._tell(ALL, what, payload)
        self._hear(what, dict(payload))

    def tell_supervisor(self, what: str, payload: Payload) -> None:
        """Tell the process that forked us. Waits for nothing."""
        self._tell(SUPERVISOR, what, payload)

    def tell(self, worker: int, what: str, payload: Payload) -> None:
        """Tell one worker, by index. Waits for nothing; see `dropped`."""
        if worker == self.index:
            self._hear(what, dict(payload))
        else:
            self._tell(worker, what, payload)

    # -- sending

    def _send(self, kind: Kind, to: int, question: int, body: object) -> bool:
        """False: not sent, for the supervisor does not read or the message is too long."""
        transport = self._transport
        if transport is None or transport.is_closing() or transport.get_write_buffer_size() > MOST_WAITING_BYTES:
            return False
        try:
            transport.write(Message(kind, 0, to, question, pack(body)).encode())
        except ValueError:
            return False
        return True

    def _tell(self, to: int, what: str, payload: Payload) -> None:
        if self._transport is not None and not self._send(Kind.TELL, to, 0, [what, payload]):
            self.dropped[()] += 1

    async def _ask(self, to: int, what: str, payload: Payload, timeout_s: float) -> list[Answer]:
        number = next(self._numbers) & 0xFFFF_FFFF
        question = self._questions[number] = Question()
        try:
            if not self._send(Kind.ASK, to, number, [what, payload]):
                return [Answer(-1, {}, "busy")]
            await asyncio.wait((question.done,), timeout=timeout_s)
            if question.awaited is None:
                return [Answer(-1, {}, "no answer in time")]
            question.give_up("no answer in time")
            return question.answers
        finally:
            del self._questions[number]

    # -- being asked

    async def _own_answer(self, what: str, payload: dict[str, Any]) -> tuple[dict[str, Any], str]:
        """(answer, what went wrong)."""
        handler = self._handlers.get(what)
        if handler is None:
            return {}, f"nobody answers {what}"
        try:
            found = handler(payload)
            return dict((await found if isawaitable(found) else found) or {}), ""
        except Exception as error:  # whatever it is, it is told to who asked
            return {}, f"{type(error).__name__}: {error}"

    def _hear(self, what: str, payload: dict[str, Any]) -> None:
        """Something was told. Who told it does not wait for what comes of it."""
        handler = self._handlers.get(what)
        if handler is None:
            return
        try:
            found = handler(payload)
        except Exception as error:
            unheard(f"hearing of {what}", error)
        else:
            if isawaitable(found):
                self._work(found)

    def _work(self, what: Awaitable[Any]) -> None:
        if len(self._working) >= MOST_AT_WORK:
            self.dropped[()] += 1
            asyncio.ensure_future(what).cancel()
            return
        task = asyncio.ensure_future(what)
        self._working.add(task)
        task.add_done_callback(self._working.discard)

    async def _answer(self, asked: Message, what: str, payload: dict[str, Any]) -> None:
        answer, missing = await self._own_answer(what, payload)
        if not self._send(Kind.ANSWER, asked.sender, asked.question, [answer, missing]):
            self._send(Kind.ANSWER, asked.sender, asked.question, [{}, "its answer is too long"])

    def received(self, message: Message) -> None:
        """Act on a message from the supervisor; for the line's protocol alone."""
        if message.kind is Kind.ASK:
            what, payload = unpack(message.body)
            self._work(self._answer(message, what, payload))
        elif message.kind is Kind.TELL:
            what, payload = unpack(message.body)
            self._hear(what, payload)
        elif message.kind is Kind.GONE:
            self._gone(message)
        elif (question := self._questions.get(message.question)) is not None:
            if message.kind is Kind.EXPECT:
                question.expect(unpack(message.body))
            else:
                question.answered(message.sender, *unpack(message.body))

    def _gone(self, message: Message) -> None:
        reason = message.body.decode()
        asked = [message.question] if message.question else tuple(self._questions)
        for number in asked:
            if (question := self._questions.get(number)) is not None:
                question.answered(message.sender, {}, reason)

    def line_lost(self) -> None:
        """For the line's protocol: the supervisor is gone, or has cut us off."""
        for question in self._questions.values():
            if question.awaited is None:
                question.expect(())
            question.give_up("gone")


class _LineProtocol(asyncio.Protocol):
    """The line as asyncio sees it."""

    def __init__(self, siblings: Siblings) -> None:
        self._siblings = siblings
        self._decoder = Decoder()

    def data_received(self, data: bytes) -> None:
        for message in self._decoder.feed(data):
            self._siblings.received(message)

    def connection_lost(self, exc: Exception | None) -> None:
        self._siblings.line_lost()
