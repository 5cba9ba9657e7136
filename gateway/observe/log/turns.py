"""Whose turn it is to write: threads of a process and processes of a gateway share a destination, batch by batch."""

import fcntl
import select
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from gateway.observe.log.midline import same_file

IMPATIENT_S = 0.2
"""How long a line waits for its reader in a process without a loop."""
TURN_S = 2.0
"""And for another process to end its batch, while there is a reader: on a busy machine that one may not get to run."""

_turns = {fd: threading.Lock() for fd in (1, 2)}  # stdout, stderr


@contextmanager
def held(fd: int, patient: bool) -> Iterator[bool]:
    """Hold the destination for one batch, and say whether that can be done there. Raises TimeoutError when somebody
    impatient had to wait too long."""
    with _held_here(fd, patient):
        locked = _lock(fd) if patient else _lock_soon(fd)
        try:
            yield locked
        finally:
            if locked:
                fcntl.lockf(fd, fcntl.LOCK_UN)


@contextmanager
def _held_here(fd: int, patient: bool) -> Iterator[None]:
    """The kernel's lock keeps processes apart, not threads: the writers of stdout and stderr may lead to one pipe."""
    turn = _turns.get(1 if same_file(1, fd) else fd)
    if turn is None:  # a file of its own has one writer
        yield
        return
    if not turn.acquire(timeout=-1 if patient else IMPATIENT_S):
        raise TimeoutError
    try:
        yield
    finally:
        turn.release()


def _lock(fd: int) -> bool:
    """Whether there is such a lock: without one, writing goes on and only very large batches may mingle."""
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX)
    except OSError:
        return False
    return True


def _lock_soon(fd: int) -> bool:
    by = time.monotonic() + TURN_S
    while wait_writable(fd, IMPATIENT_S):
        try:
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > by:
                break
            time.sleep(0.005)
        except OSError:
            return False
        else:
            return True
    raise TimeoutError


def wait_writable(fd: int, timeout_s: float) -> bool:
    """Whether it takes something within that time; also when nobody reads it any more, which writing then shows."""
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(timeout_s * 1e3))
