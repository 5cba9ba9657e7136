"""A new version without a gap: the same command, started again beside us, on our own listening sockets.

The sockets are never closed, so no connection is refused and none that is queued is lost: while the successor starts
we accept, from when it serves both do, and then we drain. If it does not come up, nothing has happened.
"""

import asyncio
import errno
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from socket import socket

from gateway.ending import Served
from gateway.observe.log.logger import event
from gateway.supervisor import notify
from gateway.supervisor.inheritance import SUCCEEDS, bequest

READY_WITHIN_S = 60.0
PID_BYTES = 20

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
        self._pid = 0  # of the successor on its way; 0 = there is none
        self._succeeded = False
        self._over = False  # this gateway ends
        self._unwatch: Watch = _nothing
        self.fd = -1
        self.due = math.inf

    def begin(self, listen: Iterable[socket], admin: socket | None, watch: Watch, unwatch: Watch) -> None:
        """Start one, unless one is on its way or this gateway ends already. What is wrong is told as an event.

        watch, unwatch  called with `fd`, when there is one and when there is none any more
        """
        if self._pid or self._over:
            return
        if os.getpid() == 1:
            _failed("process 1 ends with its container, and so would a successor: replace the container")
            return
        self.fd, ready_fd = os.pipe()
        try:
            will, fds = bequest(listen, admin, self._given, ready_fd)
            environment = {**self._environment, SUCCEEDS: will}
            self._pid = _start(command(), environment, fds)
        except OSError as error:
            self._forget()
            _failed(f"cannot start {command()[0]}: {error.strerror}")
            return
        finally:
            os.close(ready_fd)
        self._unwatch = unwatch
        watch(self.fd)
        self.due = time.monotonic() + READY_WITHIN_S
        event("upgrade.started", "A successor starts on the same sockets", pid=self._pid)

    def heard(self) -> bool:
        """`fd` can be read: whether the successor serves. From then on it is the gateway, for systemd too."""
        if not os.read(self.fd, 1):
            self._end("it ended before it served; standard error says why")
            return False
        self._succeeded = self._over = True
        notify.main_pid(self._pid)
        event("upgrade.done", "The successor serves, this gateway drains", pid=self._pid)
        self._forget()
        return True

    def look(self) -> None:
        """Whether it has had time enough: then it ends, and we stay."""
        if self._pid and self.due <= time.monotonic():
            self._tell(signal.SIGKILL)
            self._end(f"it did not serve within {READY_WITHIN_S:.0f} s")

    def abandon(self) -> None:
        """The drain begins. So it does for a successor on its way; of one that serves systemd knows that it goes on."""
        self._over = True
        if not self._succeeded:
            notify.stopping()
        if self._pid:
            self._tell(signal.SIGTERM)
            self._forget()

    def _tell(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(self._pid, number)

    def _end(self, why: str) -> None:
        _failed(why)
        self._forget()

    def _forget(self) -> None:
        self._unwatch(self.fd)
        self._unwatch = _nothing
        os.close(self.fd)
        self.fd, self.due, self._pid = -1, math.inf, 0


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


def _start(command: Iterable[str], environment: Mapping[str, str], fds: Collection[int]) -> int:
    """Start a process that is nobody's child but process 1's: its parent ends at once. Returns its pid. Raises OSError.

    A service that is somebody else's child when systemd hears of it is one whose end systemd does not wait for:
    `systemctl stop` would kill it right behind the SIGTERM, with all its calls.
    """
    told, tell = os.pipe()

    def between() -> None:
        if pid := os.fork():
            os.write(tell, str(pid).encode())
            os._exit(0)

    try:
        # No matter what threads hold: nothing but `between` is done after the fork.
        parent = subprocess.Popen([*command], env=environment, pass_fds=fds, preexec_fn=between)  # noqa: S603, PLW1509
        parent.wait()
        return int(os.read(told, PID_BYTES))
    except subprocess.SubprocessError as error:  # the second fork failed
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from error
    finally:
        os.close(told)
        os.close(tell)


def _failed(reason: str) -> None:
    event("upgrade.failed", "No successor came up, this gateway goes on", "error", reason=reason)
