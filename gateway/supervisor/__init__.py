"""From settings to serving processes: sockets, runtime directory, the embedded store, and one or N workers.

Everything that can fail for a reason outside (port taken, no room for the runtime files, a store that does not start)
fails here, before the first worker, as a `StartFailed` with one sentence for the person at the terminal.

One worker runs in this process. N workers are forked before any event loop exists; this process then only watches
over them (`gateway.supervisor.watch`).
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

from gateway.core.policy import PolicySet
from gateway.core.store_url import redact_url
from gateway.listener.room import allow_open_files, room_for
from gateway.observe.log.logger import close_logging, configure_logging, envelope, event, use_policy_version
from gateway.observe.log.midline import share_marks
from gateway.observe.log.places import unwritable
from gateway.policy.sources import Sources
from gateway.settings import Bounds, Settings
from gateway.signals import end_in_order, stop_at_once
from gateway.supervisor import notify
from gateway.supervisor.certificates import check_certificates
from gateway.supervisor.embedding import plan_store, store_place
from gateway.supervisor.failure import StartFailed
from gateway.supervisor.inheritance import inherit
from gateway.supervisor.listening import open_doors
from gateway.supervisor.runtime_dir import RuntimeDir, runtime_dir
from gateway.supervisor.succession import HandOver, Succession
from gateway.supervisor.threads import check_threads
from gateway.supervisor.upkeep import Upkeep
from gateway.supervisor.watch import Supervisor
from gateway.supervisor.worker import Post, Serve, run_worker, serve_calls
from gateway.supervisor.worker_files import METRICS

__all__ = ["Running", "StartFailed", "run"]

METRICS_DIR = "PROMETHEUS_MULTIPROC_DIR"


@dataclass(frozen=True, slots=True)
class Running:
    """What has come up, for whoever announces it. Ports are the real ones, also when 0 was asked for.

    store_up  whether the worker that was ready first can use the store
    """

    settings: Settings
    policies: PolicySet
    store_note: str
    store_up: bool


def run(
    settings: Settings,
    policies: PolicySet,
    *,
    announce: Callable[[Running], None] = lambda _: None,
    serve: Serve = serve_calls,
    sources: Sources | None = None,
) -> int:
    """Serve until told to stop; returns the exit code (0 after a clean drain).

    announce  called once, when the first worker is ready
    serve     one worker's whole life; another one is for tests only
    sources   where both are read again; None = never

    Raises StartFailed when nothing can be started.
    """
    stop_at_once()
    inherited = inherit(os.environ)
    os.environ.pop(METRICS_DIR, None)  # some other program's, which would count ours as its own
    environment = dict(os.environ)
    plan = plan_store(settings)
    with ExitStack() as stack:
        stack.enter_context(_logging(settings, plan.warning))
        settings = replace(settings, workers=plan.workers)
        doors = stack.enter_context(open_doors(settings, inherited))
        settings = doors.as_bound(settings)
        check_certificates(settings, policies)
        if "admin" in doors.given:
            check_admin(settings)
        directory = stack.enter_context(runtime_dir())
        store = stack.enter_context(store_place(settings, plan, directory))
        _make_room(settings.bounds)

        def ready(store_up: bool) -> None:
            notify.ready()
            announce(Running(settings, policies, plan.note, store_up))
            if settings.workers == 1:
                inherited.tell_ready()

        upkeep = Upkeep(directory, store)
        succession = Succession(environment, doors.given)
        posts = [
            Post(
                settings, policies, index, listening, doors.admin, store.url, sources=sources, directory=directory.path
            )
            for index, listening in enumerate(doors.listening)
        ]
        if len(posts) == 1:
            check_threads()
            alone = replace(posts[0], ready=ready, beside=upkeep.go_on, hand_over=HandOver(succession))
            return run_worker(alone, serve)
        use_policy_version(policies.version)
        share_metrics(directory)
        supervisor = Supervisor(
            posts,
            doors,
            serve,
            on_ready=ready,
            on_complete=inherited.tell_ready,
            upkeep=upkeep,
            succession=succession,
        )
        return _watch_over(supervisor)


def _watch_over(supervisor: Supervisor) -> int:
    """Fork the workers and stay with them until they have ended; returns the exit code."""
    import gateway.app  # noqa: F401 - once, for all workers: they share its memory and start at once

    try:
        return supervisor.run()
    finally:
        end_in_order()


@contextmanager
def _logging(settings: Settings, warning: str) -> Iterator[None]:
    """Logs are written from here on; they begin with the settings, and with what the store does less than was asked
    for. Raises StartFailed."""
    lacking = unwritable(settings.logging)
    if lacking:
        raise StartFailed(lacking)
    share_marks()
    configure_logging(settings.logging, envelope(settings))
    try:
        _tell_settings(settings)
        if warning:
            what = "The store counts for this process or host only, or with fewer workers"
            event("store.limited", what, "warning", reason=warning)
        yield
    finally:
        close_logging()


def _make_room(bounds: Bounds) -> None:
    """Files for all sockets that may be open; tell when the host does not allow so many."""
    allow_open_files(bounds)
    room = room_for(bounds)
    if room < bounds.sockets:
        what = "So few files may be open that each worker takes fewer callers' sockets than `bounds.sockets`"
        event("sockets.limited", what, "warning", sockets=room, sockets_wanted=bounds.sockets)


def _tell_settings(settings: Settings) -> None:
    """One event that says what was decided outside the settings file: by options and by the environment."""
    changed = {key: place for key, place in settings.sources if place.startswith(("--", "environment"))}
    event(
        "config.loaded",
        "Settings loaded",
        workers=settings.workers,
        store_url=redact_url(settings.store.url),
        policies=str(settings.policies),
        changed=changed,
    )


def check_admin(settings: Settings) -> None:
    """An address that is not from the settings was not looked at when they were read. Raises StartFailed."""
    from gateway.admin.access import TokenMissing, check_tokens

    try:
        check_tokens(settings)
    except TokenMissing as error:
        raise StartFailed(str(error)) from error


def share_metrics(directory: RuntimeDir) -> None:
    """Give the workers a place for the metrics they add up together."""
    os.environ[METRICS_DIR] = str(directory.folder(METRICS))  # read when prometheus_client is first imported
    from gateway.observe.metrics.multiprocess import see_to_files

    see_to_files()
