"""A supervisor over workers that do next to nothing, as a program: `python fleet.py WORKERS [MISBEHAVIOUR]`.

Each worker answers every connection with its index and pid. Prints the port when the first worker is ready.

crash-at-once   worker 1 ends by an exception as soon as it starts, unless the file `$FLEET_WELL` exists
never-start     every worker raises StartFailed
killed-at-once  every worker is, before it serves
no-threads      workers can start none
no-process      no worker can be forked at all
deaf            workers ignore SIGTERM and SIGINT
hangs           worker 1 never gives up Python's lock once it is asked, unless the file `$FLEET_WELL` exists
watched         one that hangs is replaced after two seconds; one that drains has ten minutes
starts-badly    worker 1 hangs before it serves, unless the file `$FLEET_WELL` exists; that is seen after two seconds
no-more-forks   no worker can be forked behind the first ones, unless the file `$FLEET_WELL` exists
"""

import asyncio
import errno
import gc
import itertools
import os
import re
import signal
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from gateway import supervisor
from gateway.core.policy import PolicySet
from gateway.memory import loading
from gateway.settings import Drain, Listen, Settings, StoreSettings
from gateway.signals import on_signal
from gateway.supervisor import pulse
from gateway.supervisor.worker import Post
from tests.fakes.waiting import for_ever

WORKERS = int(sys.argv[1])
MISBEHAVIOUR = sys.argv[2] if len(sys.argv) > 2 else ""


async def serve(post: Post) -> int:
    """Answer until SIGTERM or SIGINT."""
    assert gc.isenabled() == (WORKERS > 1), "the supervisor's collector is on again, and so that of what it forks"
    if MISBEHAVIOUR == "never-start":
        raise supervisor.StartFailed("the sky is closed")
    if MISBEHAVIOUR == "killed-at-once":
        os.kill(os.getpid(), signal.SIGKILL)
    if MISBEHAVIOUR == "crash-at-once" and post.index == 1 and not Path(os.environ["FLEET_WELL"]).exists():
        raise RuntimeError("cannot stand it")
    if MISBEHAVIOUR == "starts-badly" and post.index == 1 and not Path(os.environ["FLEET_WELL"]).exists():
        threading.Event().wait()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        on_signal(number, stopped.set)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if MISBEHAVIOUR == "hangs" and post.index == 1 and not Path(os.environ["FLEET_WELL"]).exists():
            re.match("(a+)+b", "a" * 100)
        writer.write(f"{post.index} {os.getpid()}\n".encode())
        writer.close()

    async with await asyncio.start_server(answer, sock=post.listening):
        post.ready(True)
        await stopped.wait()
        if MISBEHAVIOUR == "deaf":
            await for_ever()
    return 0


def fork_no_more() -> None:
    """As where a host has no process left to give."""
    fork, forked = os.fork, itertools.count(1)

    def fork_a_few() -> int:
        if next(forked) > WORKERS and not Path(os.environ["FLEET_WELL"]).exists():
            no_process()
        return fork()

    os.fork = fork_a_few


def no_process() -> NoReturn:
    raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))


def no_thread(_thread: threading.Thread) -> NoReturn:
    raise RuntimeError("can't start new thread")


def announce(running: supervisor.Running) -> None:
    """Tell the test where to connect."""
    sys.stderr.write(f"port {running.settings.listen.port} supervisor {os.getpid()}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    settings = replace(
        Settings(),
        listen=Listen("127.0.0.1", 0),
        admin=None,
        workers=WORKERS,
        store=StoreSettings(url="redis://127.0.0.1:1"),
        drain=Drain(delay_us=0, grace_us=200_000 if MISBEHAVIOUR == "deaf" else 60_000_000),
    )
    if MISBEHAVIOUR in ("hangs", "watched", "starts-badly"):
        settings = replace(settings, watchdog_us=2_000_000, drain=Drain(delay_us=0, grace_us=600_000_000))
    if MISBEHAVIOUR == "starts-badly":
        pulse.STARTS_IN, pulse.LEAST_START_US = 1, 0
    if MISBEHAVIOUR == "no-more-forks":
        fork_no_more()
    if MISBEHAVIOUR == "no-process":
        os.fork = no_process
    if MISBEHAVIOUR == "no-threads":
        threading.Thread.start = no_thread
    nothing = PolicySet("0" * 12, (), {}, {}, {})
    try:
        with loading():
            sys.exit(supervisor.run(settings, nothing, announce=announce, serve=serve))
    except supervisor.StartFailed as error:
        sys.exit(f"gateway: {error}")
