"""Which store the workers get: the configured one, an embedded server of our own, or counters inside one process."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from gateway.core.store_url import redact_url
from gateway.observe.log.logger import event
from gateway.settings import Settings
from gateway.store import StoreDown
from gateway.store.embedded.server import EmbeddedServer, NoServerBinary, max_memory_bytes, server_binary
from gateway.supervisor.failure import StartFailed
from gateway.supervisor.pulse import Silence, look_every_s
from gateway.supervisor.runtime_dir import RuntimeDir

LOOK_EVERY_S = 1.0
ANSWERS_WITHIN_S = 0.3


@dataclass(frozen=True, slots=True)
class StorePlan:
    """Decided before anything is started.

    note     one line for the person who started the gateway
    warning  what is less than was asked for, or ""
    workers  how many may run: counters inside a process cannot be shared
    binary   the server to start, if it is ours to start
    """

    note: str
    workers: int
    warning: str = ""
    binary: Path | None = None


class OwnServer:
    """The embedded server, started again when it has died or hangs.

    patience_us  how long it may say nothing; None = for ever
    """

    def __init__(self, server: EmbeddedServer, patience_us: int | None) -> None:
        self._server = server
        self._patience_us = patience_us
        self._silence = Silence(time.monotonic())
        self._ask_due = 0.0
        self._hung_s = 0.0

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._server.alive

    def mend(self) -> bool:
        """Whether it runs. Waits a moment for an answer, and longer for a server that starts."""
        server = self._server
        if server.alive and self._patience_us is not None and self._ask_due <= time.monotonic():
            self._end_if_it_hangs(self._patience_us)
        if not server.alive:
            with suppress(StoreDown):  # the workers report a store that is down; the next look tries again
                server.start()
            self._silence = Silence(time.monotonic())  # who was not there, or starts, owes no answer
        return server.alive

    def tell(self) -> None:
        """Of what `mend` has done. Not from a thread beside an event loop: that is whose log it is."""
        hung_s, self._hung_s = self._hung_s, 0.0
        if hung_s:
            what = "The embedded store does not answer, it is started anew"
            event("store.hung", what, "error", silent_s=round(hung_s, 1))

    def _end_if_it_hangs(self, patience_us: int) -> None:
        every_s = max(LOOK_EVERY_S, look_every_s(patience_us))
        heard = not self._server.silent(ANSWERS_WITHIN_S)
        now = time.monotonic()
        self._ask_due = now + every_s - ANSWERS_WITHIN_S
        silent_s = self._silence.look(now, every_s + LOOK_EVERY_S, heard=heard)
        if silent_s * 1e6 >= patience_us:
            self._server.kill()
            self._hung_s, self._silence = silent_s, Silence(now)


@dataclass(frozen=True, slots=True)
class StorePlace:
    """url: what the workers open. own: our own server, if that is it."""

    url: str
    own: OwnServer | None = None


def plan_store(settings: Settings) -> StorePlan:
    """What the settings ask for and this platform allows."""
    if settings.store.url == "local":
        return _local("local store: counters live inside this process and are lost on restart", settings.workers)
    if settings.store.url != "embedded":
        return StorePlan(redact_url(settings.store.url), settings.workers)
    try:
        binary = server_binary()
    except NoServerBinary as error:
        return _local(f"no embedded store, {error}: counters live inside this process, lost on restart", 0)
    return StorePlan(
        "embedded store: counters are local to this host and lost on restart", settings.workers, binary=binary
    )


def _local(note: str, workers: int) -> StorePlan:
    """`workers` asked for with a local store; 0 = a store for several was asked for and cannot be had."""
    return StorePlan(note, 1, warning="" if workers == 1 else f"{note}; one worker only")


@contextmanager
def store_place(settings: Settings, plan: StorePlan, directory: RuntimeDir) -> Iterator[StorePlace]:
    """Start the embedded server if the plan has one. Raises StartFailed with its reason."""
    if plan.binary is None:
        yield StorePlace("local" if settings.store.url == "embedded" else settings.store.url)
        return
    server = EmbeddedServer(plan.binary, directory.path, max_memory_bytes=max_memory_bytes())
    try:
        server.start()
    except StoreDown as error:
        raise StartFailed(f"{error.detail}; use another store with --store URL") from error
    directory.holds(server.put_back)
    try:
        yield StorePlace(server.url, OwnServer(server, settings.watchdog_us))
    finally:
        server.stop()
