"""A new version without a gap: the same command, started again beside us, on our own listening sockets.

The sockets are never closed, so no connection is refused and none that is queued is lost: while the successor starts
we accept, from when it serves both do, and then we drain. If it does not come up, nothing has happened.
"""

import asyncio
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from socket import socket

from gateway.ending import Served
from gateway.observe.log.logger import event
from gateway.supervisor import notify
from gateway.supervisor.inheritance import SUCCEEDS, bequest

READY_WITHIN_S = 60.0
END_WITHIN_S = 2.0  # a successor whose end of the pipe is closed

Watch = Callable[[int], object]


class Succession:
    """At most one successor at a time, for whoever watches `fd` and `due`.

    fd   can be read when the successor has told that it serves, or has ended; -1 = there is none
    due  monotonic seconds when it has had time enough; inf = there is none
    """

    def __init__(self, environment: Mapping[str, str], given: frozenset[str]) -> None:
        """`environment`: what we were started with. `given`: see `Inheritance`."""
        self._environment = {name: text for name, text in environment.items() if name != "WATCHDOG_PID"}
        self._given = given
        self._process: subprocess.Popen[bytes] | None = None
        self._succeeded = False
        self._unwatch: Watch = _nothing
        self.fd = -1
        self.due = math.inf

    def begin(self, listen: Iterable[socket], admin: socket | None, watch: Watch, unwatch: Watch) -> None:
        """Start one, unless one is on its way. What is wrong is told as an event.

        watch, unwatch  called with `fd`, when there is one and when there is none any more
        """
        if self._process is not None:
            return
        if os.getpid() == 1:
            _failed("process 1 ends with its container, and so would a successor: replace the container")
            return
        self.fd, ready_fd = os.pipe()
        try:
            will, fds = bequest(listen, admin, self._given, ready_fd)
            environment = {**self._environment, SUCCEEDS: will}
            self._process = subprocess.Popen(command(), env=environment, pass_fds=fds)  # noqa: S603 - our own command
        except OSError as error:
            self._forget()
            _failed(f"cannot start {command()[0]}: {error.strerror}")
            return
        finally:
            os.close(ready_fd)
        self._unwatch = unwatch
        watch(self.fd)
        self.due = time.monotonic() + READY_WITHIN_S
        event("upgrade.started", "A successor starts on the same sockets", pid=self._process.pid)

    def heard(self) -> bool:
        """`fd` can be read: whether the successor serves. From then on it is the gateway, for systemd too."""
        process = self._process
        assert process is not None, "somebody has begun"
        if not os.read(self.fd, 1):
            self._end(f"it ended before it served, with exit code {_exit_code(process)}")
            return False
        self._succeeded = True
        notify.main_pid(process.pid)
        event("upgrade.done", "The successor serves, this gateway drains", pid=process.pid)
        self._let_go(process)
        return True

    def look(self) -> None:
        """Whether it has had time enough: then it ends, and we stay."""
        if self._process is not None and self.due <= time.monotonic():
            self._process.kill()
            self._process.wait()
            self._end(f"it did not serve within {READY_WITHIN_S:.0f} s")

    def abandon(self) -> None:
        """The drain begins. So it does for a successor on its way; of one that serves systemd knows that it goes on."""
        if not self._succeeded:
            notify.stopping()
        if self._process is not None:
            self._process.terminate()
            self._let_go(self._process)

    def _let_go(self, process: "subprocess.Popen[bytes]") -> None:
        process.returncode = 0  # nobody waits for it: it outlives us, or ends when we do
        self._forget()

    def _end(self, why: str) -> None:
        _failed(why)
        self._forget()

    def _forget(self) -> None:
        self._unwatch(self.fd)
        self._unwatch = _nothing
        os.close(self.fd)
        self.fd, self.due, self._process = -1, math.inf, None


class HandOver:
    """A `Succession` watched over by the event loop of the only worker."""

    def __init__(self, succession: Succession) -> None:
        self._succession = succession
        self._serving: asyncio.Task[None] | None = None

    def begin(self, listening: socket, admin: socket | None, served: Served) -> None:
        """`served` is run when the successor serves; never, if it does not come up."""
        loop = asyncio.get_running_loop()

        def heard() -> None:
            if self._succession.heard():
                self._serving = loop.create_task(served())

        self._succession.begin([listening], admin, lambda fd: loop.add_reader(fd, heard), loop.remove_reader)
        loop.call_later(READY_WITHIN_S + 1, self._succession.look)

    def abandon(self) -> None:
        """The drain begins."""
        self._succession.abandon()


def _nothing(_fd: int) -> None:
    """There is nothing to watch."""


def command() -> list[str]:
    """As we were started. A console script by its own name: a link on its path may lead to another version by now."""
    if sys.orig_argv[1:2] == sys.argv[:1] and os.access(sys.argv[0], os.X_OK):
        return [*sys.argv]
    return [sys.executable, *sys.orig_argv[1:]]


def _exit_code(process: "subprocess.Popen[bytes]") -> int:
    try:
        return process.wait(END_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _failed(reason: str) -> None:
    event("upgrade.failed", "No successor came up, this gateway goes on", "error", reason=reason)
