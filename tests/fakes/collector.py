"""Python's cyclic collector, out of the way."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_collector() -> Iterator[None]:
    """Nothing is collected inside the block unless it says so itself: what is free there was free at once. In a worker
    the collector looks so seldom that what only it could give back adds up. Begins without garbage."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
