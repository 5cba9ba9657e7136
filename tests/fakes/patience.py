"""Timeouts that pass when a test wants them to, on a busy host as well."""

from collections.abc import Iterator
from contextlib import contextmanager

from gateway.store.connection.pipeline import Pipeline

PATIENT_US = 20_000_000
"""A store timeout that a busy host does not reach."""
SHORT_S = 0.05


@contextmanager
def impatience(pipeline: Pipeline) -> Iterator[None]:
    """Meanwhile whoever waits for this server, which gives no answer, gives up soon. Before and afterwards it has all
    the time that the store was opened with: one that is merely slow is not lost."""
    link = pipeline._link
    assert link is not None, "there is nobody to wait for"
    patience_s, link._timeout_s = link._timeout_s, SHORT_S
    if link._timer is not None:
        link._timer.cancel()
        link._look_in(SHORT_S)
    try:
        yield
    finally:
        link._timeout_s = patience_s
