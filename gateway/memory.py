"""How a worker's memory is managed: the collector looks seldom, and what was given back is used again."""

import ctypes
import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

KEPT_BYTES = 16 * 1024 * 1024
MAPPED_FROM_BYTES = 1024 * 1024
_SAID_BY = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # mallopt(3)


@contextmanager
def loading() -> Iterator[None]:
    """Until `calm_collector`, or the end of the block, the collector does not look.

    Hardly anything that is loaded goes away again, and to see that time after time is a seventh of what a start takes.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def calm_collector() -> None:
    """What was loaded stays: do not look through it again and again. Calls leave hardly any cycles behind.

    Without this a full collection stops the worker for tens of milliseconds, several times a second under load.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    gc.enable()


def keep_pages() -> bool:
    """Keep up to KEPT_BYTES that bodies have left behind, instead of giving them back to the system each time.

    The C library's own bounds are 128 KiB, the size of a large piece of a body: each was new pages that the kernel had
    to empty, a third of the CPU that a body of 256 KiB takes. False: it is not glibc, or the environment says how.
    """
    if not sys.platform.startswith("linux") or not os.environ.keys().isdisjoint(_SAID_BY):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(
        mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES) and mallopt(_M_MMAP_THRESHOLD, MAPPED_FROM_BYTES)
    )
