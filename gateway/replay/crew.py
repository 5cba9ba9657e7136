"""Reading and understanding lines in other processes than the one that decides: deciding is one after the other."""

import gc
import multiprocessing
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

from gateway.control_groups import usable_cores
from gateway.core.policy import PolicySet
from gateway.replay.lines import Piece, Span
from gateway.replay.row import Reader, Rows

MOST_READERS = 4
"""More than so many cannot be kept busy by one that decides."""
_AHEAD = 2  # pieces for each reader that wait for their turn


class ReaderDied(Exception):
    """The text says what to do."""


Understand = Callable[[Iterable[Piece | Span]], Iterator[Rows]]
_reader: Reader | None = None


@contextmanager
def crew(policies: PolicySet, readers: int) -> Iterator[Understand]:
    """A function that turns pieces of logs into their rows, in order. readers: processes; 0 = this one does it.

    The function raises OSError when a piece cannot be read.
    """
    pool = _pool(policies, readers)
    if pool is None:
        reader = Reader(policies)
        yield lambda pieces: (_rows(reader, piece) for piece in pieces)
        return
    try:
        with _uninterrupted():
            pool.submit(int)  # which has all processes begin
        yield lambda pieces: _ahead(pool, pieces, readers * _AHEAD)
    except BrokenExecutor:
        _write_no_more(pool)
        raise ReaderDied(
            "a reading process was killed; was there too little memory? --readers 0 does without"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _pool(policies: PolicySet, readers: int) -> ProcessPoolExecutor | None:
    """None where there shall be no other processes, or cannot be: what they wait by is in /dev/shm, which some hosts do
    not have or let nobody write to."""
    if readers == 0 or "fork" not in multiprocessing.get_all_start_methods():
        return None
    with suppress(OSError):
        return ProcessPoolExecutor(readers, multiprocessing.get_context("fork"), _begin, (policies,))
    return None


def _write_no_more(pool: ProcessPoolExecutor) -> None:
    """To a process that has died: before Python 3.11.7, as on Debian 12, the pool's end waits for that for ever
    (https://github.com/python/cpython/issues/94777)."""
    queue: Any = getattr(pool, "_call_queue", None)
    if queue is not None and tuple(sys.version_info) < (3, 11, 7):
        with suppress(OSError):
            queue._reader.close()


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ctrl-C waits: what it raises is lost where it strikes within a fork."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def without_collector() -> Iterator[None]:
    """Nothing here makes reference cycles, and looking for them takes a third of the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def usual_readers() -> int:
    """As many as there are CPUs: reading is more work than deciding, so they share them with the one that decides."""
    usable = usable_cores()
    return min(MOST_READERS, usable) if usable > 1 else 0


def _begin(policies: PolicySet) -> None:
    global _reader  # noqa: PLW0603 - each process has one
    gc.disable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the parent, and that ends this one
    _reader = Reader(policies)


def _understand(piece: Piece | Span) -> Rows:
    assert _reader is not None, "the pool begins with _begin"
    return _rows(_reader, piece)


def _rows(reader: Reader, piece: Piece | Span) -> Rows:
    text, cut, _ = piece.fetched()
    rows = reader.rows(text)
    rows.unreadable += cut
    return rows


def _ahead(pool: Executor, pieces: Iterable[Piece | Span], most: int) -> Iterator[Rows]:
    """No more than so many pieces are under way, so that memory is bounded."""
    under_way: deque[Future[Rows]] = deque()
    for piece in pieces:
        under_way.append(pool.submit(_understand, piece))
        if len(under_way) > most:
            yield under_way.popleft().result()
    while under_way:
        yield under_way.popleft().result()
