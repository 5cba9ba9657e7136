"""Signals from a process's first moment to its last: none is lost, and none kills what is about to end well."""

import subprocess
import sys

import pytest


def said_by(program: str) -> tuple[int, str, str]:
    """(exit code, stdout, stderr) of a Python program."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50)
    return done.returncode, done.stdout, done.stderr


STOPPED_WHILE_STARTING = """
import asyncio, signal, sys
import uvloop
from gateway.signals import on_signal, stop_at_once
from gateway.supervisor.pulse import Pulse
from gateway.supervisor.worker import run_worker

run = uvloop.run
def interrupted(main, **loop):
    signal.raise_signal(signal.SIGTERM)
    return run(main, **loop)
uvloop.run = interrupted

async def serve(post):
    stop = asyncio.Event()
    on_signal(signal.SIGTERM, stop.set)
    await stop.wait()
    return 7

class Post:
    beside = line = None
    pulse = Pulse()

stop_at_once()
sys.exit(run_worker(Post(), serve))
"""


def test_a_signal_while_the_loop_is_set_up_is_heard_by_the_worker() -> None:
    assert said_by(STOPPED_WHILE_STARTING) == (7, "", "")


def test_a_worker_that_fails_to_start_while_it_is_told_to_stop_ends() -> None:
    failing = STOPPED_WHILE_STARTING.replace("    stop = asyncio.Event()\n", "    raise RuntimeError('broken')\n")
    code, _, stderr = said_by(failing)
    assert code == 1
    assert stderr.endswith("RuntimeError: broken\n")


AT_THE_END = """
import signal, sys
import uvloop
from gateway.signals import on_signal
from gateway.supervisor.pulse import Pulse
from gateway.supervisor.worker import run_worker

NUMBERS = {"SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2"}
run = uvloop.run
def interrupted(main, **loop):
    code = run(main, **loop)
    for name in NUMBERS:  # the loop is closed, and nothing has been said yet of the end
        signal.raise_signal(getattr(signal, name))
    return code
uvloop.run = interrupted

async def serve(post):
    for name in NUMBERS:
        on_signal(getattr(signal, name), lambda: None)
    return 7

class Post:
    beside = line = None
    pulse = Pulse()

code = run_worker(Post(), serve)
for name in NUMBERS:
    signal.raise_signal(getattr(signal, name))
sys.exit(code)
"""


def test_signals_around_the_end_of_the_loop_kill_no_worker() -> None:
    assert said_by(AT_THE_END) == (7, "", "")


SUPERVISOR_ENDS = """
import signal
from gateway.signals import end_in_order, stop_at_once
from gateway.supervisor.signals import HEARD, heard_signals

stop_at_once()
with heard_signals() as heard:
    signal.raise_signal(signal.SIGUSR1)
    assert heard.recv(10) == bytes([signal.SIGUSR1])
for number in HEARD:
    signal.raise_signal(number)
end_in_order()
for number in HEARD:
    signal.raise_signal(number)
print("ended well")
"""


def test_signals_after_a_supervisor_heard_its_last_one_change_nothing() -> None:
    assert said_by(SUPERVISOR_ENDS) == (0, "ended well\n", "")


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_what_a_first_signal_has_begun_is_not_interrupted_by_a_second(name: str) -> None:
    program = f"""
import signal
from gateway.signals import stop_at_once

stop_at_once()
try:
    signal.raise_signal(signal.{name})
    print("went on")
finally:
    signal.raise_signal(signal.{name})
    signal.raise_signal(signal.SIGUSR1)
    print("cleaned up")
"""
    assert said_by(program) == (0, "cleaned up\n", "")


IDLE = """
import asyncio, os, signal, threading
from gateway.signals import on_signal
{run}

async def main():
    told = asyncio.Event()
    on_signal(signal.SIGHUP, lambda: (print("told"), told.set()))
    asyncio.get_running_loop().call_later(0.05, threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGHUP)).start)
    await told.wait()

run(main())
"""


@pytest.mark.parametrize("run", ["from asyncio import run", "from uvloop import run"])
def test_a_loop_that_waits_for_nothing_hears_a_signal(run: str) -> None:
    assert said_by(IDLE.format(run=run)) == (0, "told\n", "")
