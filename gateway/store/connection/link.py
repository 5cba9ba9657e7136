"""One multiplexed connection: many callers' commands written together, replies matched first in, first out.

Cost decides the shape. Commands of one turn of the event loop go out in one write; each waits in a deque as a plain
tuple; one timer watches the oldest of them instead of one timer a command; the answer is decoded in the callback that
read it, and the caller goes on from there.

A caller that gives up cancels only its promise. Its slot stays in the queue until its reply came, which is then
dropped: replies never shift to another caller.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any, Protocol, cast

import hiredis

from gateway.store import StoreDown
from gateway.store.connection.commands import with_source
from gateway.store.connection.crowd import Crowd, Form, Sharing
from gateway.store.connection.excuses import Excuses
from gateway.store.connection.faults import fault_of, is_about_the_store, unexpected
from gateway.wire.run import Promise

Decode = Callable[[Any, Any], Any]
Slot = tuple["Promise[Any] | Crowd | None", Decode | None, Any, float, bytes, str]
"""(who waits or None, decode(reply, context) or None for the bare reply, context, when sent, the command, the source of
the script that it runs by its sha, or "")"""

Argument = bytes | str | int

pack: Callable[[tuple[Argument, ...]], bytes] = hiredis.pack_command  # type: ignore[assignment]  # its stub takes 1-tuples
"""One command as the protocol's bytes."""

CLOSE_S = 1.0
_INCOMPLETE = object()
_MAY_BE_REFUSED = object()


class LinkOwner(Protocol):
    """What a link tells the one who made it. Called before any waiter of the link runs again."""

    def on_trouble(self, fault: StoreDown) -> None:
        """The link cannot be used for now: it is late, it is lost, or the server refuses all work."""

    def on_script_missing(self) -> None:
        """The server had forgotten a script; it is being sent again."""


class Link(asyncio.Protocol):
    """The protocol of one connection. Made unconnected; a dialer gives it its transport.

    timeout_s  a command without an answer for so long puts a trusted link into trouble: every waiter gets
               StoreDown("timeout"), the owner is told, and the link is not trusted any more
    dead_s     a command without an answer for so long loses a link that is not trusted
    fault_of   what an error reply means

    So a server that pauses for a moment costs no reconnect, and one that is gone is given up soon.
    """

    def __init__(
        self,
        owner: LinkOwner,
        *,
        timeout_s: float,
        dead_s: float,
        fault_of: Callable[[str], StoreDown] = fault_of,
    ) -> None:
        self.lost = False
        self._fault_of = fault_of
        self._owner = owner
        self._timeout_s = timeout_s
        self._dead_s = dead_s
        self._trusted = False
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(notEnoughData=_INCOMPLETE)
        self._pending: deque[Slot] = deque()
        self._unsent: list[bytes] = []
        self._first: dict[Any, int] = {}  # by key the place among these of what others may share
        self._sharing = Sharing(self._pending)
        self._timer: asyncio.TimerHandle | None = None
        self._look_due_s = 0.0
        self._excuses = Excuses()
        self._transport: asyncio.Transport | None = None
        self._script_missing = False
        self._closed = self._loop.create_future()

    # -- commands out

    def send(
        self,
        command: bytes,
        decode: Decode | None = None,
        context: Any = None,
        source: str = "",
    ) -> "Promise[Any]":
        """Queue one packed command; the promise gets decode(reply, context), or StoreDown. Not for a lost link.

        source  of the script that an EVALSHA runs: when the server does not know it, it is told
        """
        promise: Promise[Any] = Promise(loop=self._loop)
        self._enqueue(command, (promise, decode, context, monotonic(), command, source))
        return promise

    def send_in(self, form: Form, context: Any, key: Any) -> "Promise[Any]":
        """`send` this question in its form; those with the same key share one command, while it is not sent yet."""
        promise: Promise[Any] = Promise(loop=self._loop)
        end = len(self._unsent)
        at = self._first.setdefault(key, end)
        if at != end:
            if self._sharing.join(at, end, context, promise, form):
                return promise
            self._first[key] = end
        command = form.once(context)
        self._enqueue(command, (promise, form.decode, context, monotonic(), command, form.source))
        return promise

    def tell(self, command: bytes, source: str = "") -> None:
        """Queue one packed command whose reply nobody waits for."""
        self._enqueue(command, (None, None, None, monotonic(), command, source))

    def offer(self, command: bytes) -> None:
        """Queue one packed command that the server may as well refuse: nobody hears of it."""
        self._enqueue(command, (None, None, _MAY_BE_REFUSED, monotonic(), command, ""))

    def _enqueue(self, command: bytes, slot: Slot) -> None:
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent.append(command)
        self._pending.append(slot)
        if self._timer is None:
            self._look_in(self._timeout_s)

    def _flush(self) -> None:
        commands, self._unsent, self._first = self._unsent, [], {}
        if self._sharing.shared:
            self._sharing.end(commands)
        if commands and not self.lost:
            assert self._transport is not None, "nothing is queued before the link has its transport"
            self._transport.write(commands[0] if len(commands) == 1 else b"".join(commands))

    # -- replies in

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one without saying so

    def data_received(self, data: bytes) -> None:
        gets = self._reader.gets
        self._reader.feed(data)
        try:
            while (reply := gets()) is not _INCOMPLETE:
                self._settle(reply)
        except (hiredis.ProtocolError, IndexError):
            self.lose(StoreDown("connect", "the server does not speak the protocol"))

    def _settle(self, reply: Any) -> None:
        """Give one reply to the oldest slot. RESP3 push messages belong to no slot. IndexError: nothing was asked."""
        kind = type(reply)
        if kind is hiredis.PushNotification:
            return
        slot = self._pending.popleft()
        if kind is hiredis.ReplyError:
            self._settle_error(slot, str(reply))
            return
        promise, decode, context, sent, command, _ = slot
        if promise is None or promise.done():
            return
        if type(promise) is Crowd:
            for one, error in promise.take(reply, context):
                self._settle_error((one, None, None, sent, command, ""), str(error))
            return
        try:
            answer = reply if decode is None else decode(reply, context)
        except Exception as error:  # a reply of another shape must not stop the replies behind it
            promise.fail(unexpected(error))
        else:
            promise.keep(answer)

    def _settle_error(self, slot: Slot, text: str) -> None:
        promise, decode, context, sent, command, source = slot
        if context is _MAY_BE_REFUSED and text.startswith("NOAUTH"):
            self.lose(self._fault_of(text))
        if context is _MAY_BE_REFUSED or (promise is not None and promise.done()):
            return
        if source and text.startswith("NOSCRIPT"):
            # Nothing ran, so saying it again cannot charge twice.
            if not self._script_missing:
                self._script_missing = True
                self._loop.call_soon(self._tell_script_missing)
            command = with_source(command, source)
            self._enqueue(command, (promise, decode, context, sent, command, ""))
            return
        fault = self._fault_of(text)
        fault.nothing_ran = fault.kind != "script"
        if is_about_the_store(fault):
            self._owner.on_trouble(fault)
        if promise is not None and not promise.done():  # who hears of the trouble may have given up who waited
            promise.fail(fault)

    def _tell_script_missing(self) -> None:
        """Once for all the commands that were on their way when the scripts went."""
        self._script_missing = False
        self._owner.on_script_missing()

    # -- silence

    def trust(self) -> None:
        """The link has proved itself: from now on a late answer is trouble."""
        self._trusted = True
        if self._timer is not None:  # set while the server had more time than it has now
            self._timer.cancel()
            self._timer = None
            if self._pending:
                self._look_in(self._timeout_s)

    def _look(self) -> None:
        """The timer: has the oldest command waited too long? One timer for all, re-armed to the oldest's due time."""
        self._timer = None
        if not self._pending or self.lost:
            return
        oldest = self._pending[0]
        now_s = monotonic()
        since_s = max(oldest[3], self._excuses.listening_since(oldest, self._look_due_s, now_s))
        patience_s = self._timeout_s if self._trusted else self._dead_s
        left_s = since_s + patience_s - now_s
        if left_s > 0:
            self._look_in(max(left_s, 0.001))
        else:
            # When this process itself was held up, the answer may be lying in the socket: two turns of the loop
            # have one look at the sockets between them.
            self._loop.call_soon(self._loop.call_soon, self._judge, oldest)

    def _look_in(self, delay_s: float) -> None:
        self._look_due_s = monotonic() + delay_s
        self._timer = self._loop.call_later(delay_s, self._look)

    def _judge(self, oldest: Slot) -> None:
        if self.lost:
            return
        if self._pending and self._pending[0] is oldest:
            if not self._trusted:
                self.lose(StoreDown("timeout", f"no answer for {self._dead_s * 1000:.0f} ms"))
                return
            self._trusted = False
            fault = StoreDown("timeout", f"no answer within {self._timeout_s * 1000:g} ms")
            self._owner.on_trouble(fault)
            self._fail_waiters(fault)
        if self._pending and self._timer is None:
            self._look_in(0.001)

    def _fail_waiters(self, fault: StoreDown) -> None:
        for slot in list(self._pending):  # who goes on may have something to tell
            promise = slot[0]
            if promise is not None and not promise.done():
                promise.fail(StoreDown(fault.kind, fault.detail))

    # -- the end

    def connection_lost(self, exc: Exception | None) -> None:
        self.lose(StoreDown("connect", "the connection was lost"))
        if not self._closed.done():
            self._closed.set_result(None)

    def abort(self) -> None:
        """Drop the connection now; what is not sent yet stays unsent."""
        self.lose(StoreDown("connect", "the connection was given up"))

    async def close(self) -> None:
        """Send what is queued, then close; aborts when that takes longer than `CLOSE_S`."""
        self._flush()
        if self._transport is not None:
            self._transport.close()
            await asyncio.wait((self._closed,), timeout=CLOSE_S)
        self.lose(StoreDown("connect", "the store is closed"))

    def lose(self, fault: StoreDown) -> None:
        """`abort`, for a reason that whoever waits is told. Without effect on a link that is lost."""
        if self.lost:
            return
        self.lost = True
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.abort()
        self._owner.on_trouble(fault)
        self._fail_waiters(fault)
        self._pending.clear()
