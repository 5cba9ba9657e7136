"""Log lines on their way out: many per write, whole lines only, and never in the way of a call.

In a process with an event loop a thread does the writing, so a reader that stalls or a disk that hangs delays nobody.
Without a loop (the supervisor, command lines) a line is written at once by whoever wrote it, and given up when the
reader does not take it within a moment: a supervisor that hangs could not stop its workers.
"""

import asyncio
import os
import queue
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from gateway.observe.log.midline import Midline
from gateway.observe.log.turns import held, wait_writable

FLUSH_BYTES = 256 * 1024
FLUSH_S = 0.1
HELD_BYTES = 8 * 1024 * 1024
"""Handed over but not written yet. Beyond this, lines are dropped and counted."""
CLOSE_S = 2.0
"""How long `close` waits for a reader that does not read."""

_STREAMS = {"stdout": 1, "stderr": 2}


@dataclass(slots=True)
class Telling:
    """How writers tell what has befallen them.

    dropped  makes the line that says how many were lost, written once writing works again
    kept     told, on the loop's side, which file cannot be opened anew, and why
    """

    dropped: Callable[[int], bytes] = lambda _: b""
    kept: Callable[[str, str], None] = lambda *_: None


TELLING = Telling()
"""Of this process, like standard output itself: whoever puts events into lines says how."""


class LineWriter:
    """Collects lines, ends each batch in one write. `write` never raises, never blocks.

    destination  `stdout`, `stderr`, `off`, or the path of a file that is appended to

    Several processes may share a destination: a lock (of the kernel, on the file or pipe itself) is held while a batch
    goes out, so lines stay whole even where the system takes a batch in pieces. A line that one of them could not end,
    because it was killed, is ended by the next that writes.
    """

    def __init__(self, destination: str, telling: Telling = TELLING) -> None:
        self.destination = destination
        self.dropped = 0  # lines lost so far
        self._telling = telling
        self._lines: list[bytes] = []
        self._size = 0
        self._timer: asyncio.TimerHandle | None = None
        self._fd = -1
        self._staying = False  # in a file that has been rotated away
        self._midline = Midline(_STREAMS.get(destination))
        self._unreported = 0
        self._handed_bytes = 0  # written by the loop's thread only
        self._done_bytes = 0  # written by the writing thread only
        self._work: queue.SimpleQueue[list[bytes] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._reopen = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None  # which the thread writes for
        self.write: Callable[[bytes], None] = _ignore if destination == "off" else self._write

    # -- the loop's side

    def _write(self, line: bytes) -> None:
        """Take one line, newline included."""
        self._lines.append(line)
        self._size += len(line)
        if self._size >= FLUSH_BYTES:
            self.flush()
        elif self._timer is None:
            self._flush_later()

    def flush(self) -> None:
        """Send what was collected on its way now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        lines, self._lines = self._lines, []
        size, self._size = self._size, 0
        if not lines:
            return
        if self._thread is None and not _in_loop():
            self._put(lines, patient=False)
        elif self._handed_bytes - self._done_bytes > HELD_BYTES or not self._has_thread():
            self._lose(len(lines))
        else:
            self._handed_bytes += size
            self._work.put(lines)

    def reopen(self) -> None:
        """Open a file anew before the next line: it has been rotated away. Until it can be, lines go to the old one,
        unless that has been deleted."""
        self.flush()
        self._reopen.set()

    def close(self) -> None:
        """Write what is left, wait a little for it, and stop. Idempotent; a later line starts it again."""
        self.flush()
        thread, self._thread = self._thread, None
        if thread is not None:
            self._work.put(None)
            thread.join(CLOSE_S)
            if thread.is_alive():
                self._lose_all()
                return
        self._close_file()

    def _lose_all(self) -> None:
        """What waits for its reader, but for the batch that is being written."""
        with suppress(queue.Empty):
            while True:
                self._lose(len(self._work.get_nowait() or ()))
        self._work.put(None)

    def _flush_later(self) -> None:
        try:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_S, self.flush)
        except RuntimeError:
            self.flush()

    def _has_thread(self) -> bool:
        """False: the host has none to give."""
        if self._thread is None:
            thread = threading.Thread(target=self._keep_writing, name="log writer", daemon=True)
            with suppress(RuntimeError):
                self._loop = asyncio.get_running_loop() if _in_loop() else None
                thread.start()
                self._thread = thread
        return self._thread is not None

    # -- the writing side

    def _keep_writing(self) -> None:
        while (lines := self._work.get()) is not None:
            try:
                self._put(lines)
            except Exception:  # an error of ours may cost these lines, and not all that follow
                self._lose(len(lines))
            self._done_bytes += sum(map(len, lines))

    def _put(self, lines: list[bytes], *, patient: bool = True) -> None:
        """Write whole lines, or count them as lost."""
        data = b"".join(lines)
        try:
            fd = self._open()
            with held(fd, patient) as locked:
                lost = self._write_all(fd, data, locked)
                if self._unreported and not lost:
                    self._report(fd, locked)
        except OSError:
            lost = len(lines)
        self._lose(lost)

    def _write_all(self, fd: int, lines: bytes, locked: bool) -> int:
        """Write these lines, beginning on a line of its own; returns how many did not go out whole. The system may take
        them in pieces, and a process may end between two of them."""
        broken = self._midline.is_at(locked)
        data = b"\n" + lines if broken else lines
        view = memoryview(data)
        self._midline.leave(locked, True)
        try:
            while view:
                try:
                    view = view[os.write(fd, view) :]
                except BlockingIOError:  # somebody made the shared pipe non-blocking
                    wait_writable(fd, 1.0)
        except OSError:
            sent = data[: len(data) - len(view)]
            broken = not sent.endswith(b"\n") if sent else broken
        else:
            broken = False
        self._midline.leave(locked, broken)
        return lines.count(b"\n", max(0, len(lines) - len(view)))

    def _report(self, fd: int, locked: bool) -> None:
        count, self._unreported = self._unreported, 0
        if self._write_all(fd, self._telling.dropped(count), locked):
            self._unreported += count

    def _lose(self, count: int) -> None:
        self.dropped += count
        self._unreported += count

    def _open(self) -> int:
        if self._reopen.is_set() or self._fd < 0:
            self._reopen.clear()
            try:
                fd = self._open_anew()
            except OSError as error:
                self._reopen.set()  # tried again with the next lines
                if self._fd < 0 or not os.fstat(self._fd).st_nlink:
                    raise
                self._stay(error)
                return self._fd
            self._staying = False
            self._close_file()
            self._fd = fd
            self._midline.watch(fd)
        return self._fd

    def _stay(self, error: OSError) -> None:
        """Go on in the file that was rotated away: whoever did that still has it. The loop's side says so, once."""
        if self._staying:
            return
        self._staying = True
        tell = partial(self._telling.kept, self.destination, error.strerror or str(error))
        if self._loop is None:
            tell()
        else:
            with suppress(RuntimeError):  # it has ended
                self._loop.call_soon_threadsafe(tell)

    def _open_anew(self) -> int:
        known = _STREAMS.get(self.destination)
        return known if known is not None else open_file(self.destination)

    def _close_file(self) -> None:
        self._midline.forget()
        if self._fd >= 0 and self.destination not in _STREAMS:
            with suppress(OSError):
                os.close(self._fd)
        self._fd = -1


def open_file(path: str | os.PathLike[str]) -> int:
    """The descriptor of a log, which is made if it is not there; for its owner and group. Raises OSError."""
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)


def _in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _ignore(_line: bytes) -> None:
    """For the destination `off`."""


_writers: dict[str, LineWriter] = {}


def writer_for(destination: str) -> LineWriter:
    """The one writer of this process for a destination: everything that goes there stays in order."""
    writer = _writers.get(destination)
    if writer is None:
        writer = _writers[destination] = LineWriter(destination)
    return writer


def all_writers() -> tuple[LineWriter, ...]:
    """Every writer of this process."""
    return tuple(_writers.values())


def is_terminal(destination: str) -> bool:
    """Whether a person reads there."""
    stream = {"stdout": sys.stdout, "stderr": sys.stderr}.get(destination)
    return stream is not None and stream.isatty()
