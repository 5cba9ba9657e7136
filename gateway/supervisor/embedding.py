"""Which store the workers get: the configured one, an embedded server of our own, or counters inside one process."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from gateway.core.store_url import redact_url
from gateway.settings import Settings
from gateway.store import StoreDown
from gateway.store.embedded.server import EmbeddedServer, NoServerBinary, server_binary
from gateway.supervisor.failure import StartFailed

LOOK_EVERY_S = 1.0


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


@dataclass(frozen=True, slots=True)
class StorePlace:
    """url: what the workers open. mend: start our own server again if it has died, and say whether it runs; always so
    for other stores."""

    url: str
    mend: Callable[[], bool]

    async def keep_mended(self) -> None:
        """Look after our own server from a worker's event loop, for ever."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            with suppress(RuntimeError):  # there is no thread to be had right now
                await asyncio.to_thread(self.mend)


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
def store_place(settings: Settings, plan: StorePlan, directory: Path) -> Iterator[StorePlace]:
    """Start the embedded server if the plan has one. Raises StartFailed with its reason."""
    if plan.binary is None:
        yield StorePlace("local" if settings.store.url == "embedded" else settings.store.url, lambda: True)
        return
    server = EmbeddedServer(plan.binary, directory)
    try:
        server.start()
    except StoreDown as error:
        raise StartFailed(f"{error.detail}; use another store with --store URL") from error

    def mend() -> bool:
        if not server.alive:
            with suppress(StoreDown):  # the workers report a store that is down; the next look tries again
                server.start()
        return server.alive

    try:
        yield StorePlace(server.url, mend)
    finally:
        server.stop()
