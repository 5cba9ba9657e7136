"""Understanding lines in other processes than the one that decides: deciding has to be one after the other."""

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from gateway.core.policy import PolicySet
from gateway.replay.row import Reader, Rows

MOST_READERS = 3
"""So many keep one that decides busy."""
_AHEAD = 2  # pieces for each reader that wait for their turn

Understand = Callable[[Iterable[bytes]], Iterator[Rows]]
_reader: Reader | None = None


@contextmanager
def crew(policies: PolicySet, readers: int) -> Iterator[Understand]:
    """A function that turns pieces of text into their rows, in order. readers: processes; 0 = this one does it."""
    if readers == 0 or "fork" not in multiprocessing.get_all_start_methods():
        yield lambda texts: map(Reader(policies).rows, texts)
        return
    pool = multiprocessing.get_context("fork").Pool(readers, _begin, (policies,))
    try:
        yield lambda texts: _ahead(pool, texts, readers * _AHEAD)
    finally:
        pool.terminate()
        pool.join()


def usual_readers() -> int:
    """As many as there are CPUs besides the one that decides."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(MOST_READERS, usable - 1)


def _begin(policies: PolicySet) -> None:
    global _reader  # noqa: PLW0603 - each process has one
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the parent, and that ends this one
    _reader = Reader(policies)


def _understand(text: bytes) -> Rows:
    assert _reader is not None, "the pool begins with _begin"
    return _reader.rows(text)


def _ahead(pool: Any, texts: Iterable[bytes], most: int) -> Iterator[Rows]:
    """No more than so many pieces are under way, so that memory is bounded."""
    under_way: deque[Any] = deque()
    for text in texts:
        under_way.append(pool.apply_async(_understand, (text,)))
        if len(under_way) > most:
            yield under_way.popleft().get()
    while under_way:
        yield under_way.popleft().get()
