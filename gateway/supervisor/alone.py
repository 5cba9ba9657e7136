"""The watchdog of an only worker: a thread of its own process, which it ends. Who started the gateway starts it again.

It needs Python's lock now and then, so it sees nothing of code that never gives it up (C code that computes): that is
left to who watches from outside, such as systemd (`WatchdogSec=`) or a liveness probe. When the whole process is
stopped the thread is too, and what it missed counts for nothing.
"""

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from gateway.observe.log.logger import close_logging
from gateway.supervisor.pulse import Pulse, Watched, look_every_s, start_patience_us
from gateway.supervisor.stack import has_debugger, main_stack, tell_hung

EXIT_HUNG = 70
TELL_WITHIN_S = 5.0
IDLE_S = 3.0


class WatchAlone:
    """`patience_us`: how long the pulse may stand still when the worker serves; None = for ever. Until it does, as long
    as `start_patience_us` says."""

    def __init__(self, pulse: Pulse, patience_us: int | None) -> None:
        may_us = None if patience_us is None else start_patience_us(patience_us)
        self._pulse = pulse
        self._may_us: Callable[[], int | None] = lambda: may_us
        self._over = threading.Event()

    def begin(self) -> None:
        """Watch from now on. Where the host has no thread to give, nobody does."""
        with suppress(RuntimeError):
            threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def serves(self, patience_us: Callable[[], int | None]) -> None:
        """The worker has started. `patience_us` says how long the pulse may stand still now; None = for ever."""
        self._may_us = patience_us

    def end(self) -> None:
        """The worker has ended by itself. Idempotent."""
        self._over.set()

    def _watch(self) -> None:
        known: Callable[[], int | None] | None = None
        while True:
            if known is not self._may_us:  # what was silence before is none now
                known, watched = self._may_us, Watched(self._pulse, time.monotonic())
            patience_us = known()
            every_s = IDLE_S if patience_us is None else look_every_s(patience_us)
            if self._over.wait(every_s):
                return
            silent_s = watched.look(time.monotonic(), every_s)
            if patience_us is not None and silent_s * 1e6 >= patience_us and not has_debugger(os.getpid()):
                _end(silent_s)


def _end(silent_s: float) -> None:
    """Tell, unless what hangs keeps us from it, and end."""
    with suppress(RuntimeError):
        threading.Timer(TELL_WITHIN_S, os._exit, (EXIT_HUNG,)).start()
    tell_hung(os.getpid(), silent_s, main_stack())
    close_logging()
    os._exit(EXIT_HUNG)
