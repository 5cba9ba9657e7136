"""One worker process from the outside: its event loop, its exit code, and how it notices that its parent is gone."""

import asyncio
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from gateway.core.policy import PolicySet
from gateway.lasting import lasting
from gateway.observe.reports.unheard import Unheard
from gateway.policy.sources import Sources
from gateway.settings import Settings
from gateway.signals import end_in_order, keep_signals
from gateway.supervisor import notify
from gateway.supervisor.alone import WatchAlone
from gateway.supervisor.failure import StartFailed
from gateway.supervisor.pulse import Pulse
from gateway.supervisor.stack import offer_stack
from gateway.supervisor.succession import HandOver

if TYPE_CHECKING:
    from gateway.siblings import Siblings

SWITCH_S = 0.0002
"""How long the event loop waits for its turn while another thread computes. Whoever makes the text of a scrape of
thousands of series takes half a second, and at Python's 5 ms each read of a socket in that time waited so long."""
EXIT_FAILED = 1
EXIT_NOT_STARTED = 4


@dataclass(frozen=True, slots=True)
class Post:
    """What one worker is given.

    store_url  where the counters live; differs from the settings when the gateway started the store itself
    ready      to be called once, when the worker serves calls, with whether the store can be used
    line       to the supervisor, for `gateway.siblings`; None = this is the only worker
    sources    where settings and policies are read again; None = they are not
    directory  private to this gateway
    names      where names of upstreams and of the store have led, as workers before have told
    edition    the file that `policies` came in, "" = they are the first
    fresh      the settings as they were read then; `settings` are those of them that could be put in place
    pulse      to beat as long as the event loop turns
    beside     coroutine function to run beside the worker, cancelled when it ends
    hand_over  starts a new version in the place of the only worker; None = the supervisor does
    """

    settings: Settings
    policies: PolicySet
    index: int
    listening: socket.socket
    admin: socket.socket | None
    store_url: str
    line: socket.socket | None = None
    sources: Sources | None = None
    directory: Path | None = None
    names: Sequence[Mapping[str, object]] = ()
    edition: str = ""
    fresh: Settings | None = None
    ready: Callable[[bool], None] = lambda _: None
    pulse: Pulse = field(default_factory=Pulse)
    beside: Callable[[], Coroutine[Any, Any, None]] | None = None
    hand_over: HandOver | None = None


class Serve(Protocol):
    """One worker's whole life: serves until SIGTERM or SIGINT (see `gateway.signals.on_signal`), drains, and returns
    the exit code."""

    def __call__(self, post: Post) -> Coroutine[Any, Any, int]: ...


async def serve_calls(post: Post) -> int:
    """What a worker really does; imported late, so that nothing heavy is loaded before it is needed."""
    from gateway.app import Worker
    from gateway.siblings import Siblings

    siblings = Siblings(post.index, post.line)
    watchdog = WatchAlone(post.pulse, post.settings.watchdog_us) if post.line is None else None
    if watchdog is not None:
        watchdog.begin()

    def ready(store_up: bool) -> None:
        post.ready(store_up)
        if watchdog is not None:
            watchdog.serves(lambda: worker.settings.watchdog_us)

    worker = Worker(
        post.settings,
        post.policies,
        listen_socket=post.listening,
        admin_socket=post.admin,
        index=post.index,
        store_url=post.store_url,
        siblings=siblings,
        sources=post.sources,
        names=post.names,
        directory=post.directory,
        reloading=partial(_tell_reloading, siblings),
        on_ready=ready,
        hand_over=post.hand_over,
    )

    def put_back(_told: object) -> None:
        if post.directory is not None:
            offer_stack(post.directory)
        worker.put_back()

    siblings.on("runtime.gone", put_back)
    try:
        return await worker.run()
    finally:
        if watchdog is not None:
            watchdog.end()


def _tell_reloading(siblings: "Siblings", began: bool) -> None:
    """The service manager only listens to the first process."""
    if siblings.alone:
        notify.reloading() if began else notify.ready()
    else:
        siblings.tell_supervisor("reloading", {"began": began})


def run_worker(post: Post, serve: Serve) -> int:
    """Run one worker's event loop in this process until it ends; returns its exit code."""
    try:
        return _run_loop(_live(post, serve, keep_signals()))
    except StartFailed as error:
        return not_started(error)
    finally:
        end_in_order()


def not_started(why: StartFailed | str) -> int:
    """Tell the person at the terminal; the exit code."""
    print(f"gateway: {why}", file=sys.stderr)  # noqa: T201
    return EXIT_NOT_STARTED


async def _live(post: Post, serve: Serve, asked: Sequence[int]) -> int:
    """`asked`: signals that came before anybody in the loop heard them."""
    asyncio.get_running_loop().set_exception_handler(Unheard())
    serving = asyncio.create_task(serve(post))
    await asyncio.sleep(0)  # what it does first is to hear signals
    for number in tuple(asked):
        signal.raise_signal(number)
    alone = post.line is None
    works = {"pulse": post.pulse.go_on, "upkeep": post.beside, "signs of life": _tell_alive if alone else None}
    beside = [lasting(what, work) for what, work in works.items() if work]
    try:
        return await serving
    finally:
        for one in beside:
            one.cancel()


async def _tell_alive() -> None:
    """The service manager, if it wants to hear it of the only process."""
    every_s = notify.watchdog_s()
    while every_s is not None:
        notify.alive()
        await asyncio.sleep(every_s)


def _run_loop(main: Coroutine[Any, Any, int]) -> int:
    sys.setswitchinterval(SWITCH_S)
    try:
        import uvloop
    except ImportError:  # Windows, PyPy: the same gateway, slower
        return asyncio.run(main)
    from gateway.supervisor.event_loop import AskingLoop

    return uvloop.run(main, loop_factory=AskingLoop)


def end_with_parent(lifeline: int) -> None:
    """Drain when the other end of the pipe closes: the parent holds it, and the kernel closes it however it dies.

    A pipe rather than prctl(PR_SET_PDEATHSIG): it works on every POSIX system, and has no gap around fork.
    """

    def wait() -> None:
        while os.read(lifeline, 1):
            pass
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=wait, name="lifeline", daemon=True).start()
