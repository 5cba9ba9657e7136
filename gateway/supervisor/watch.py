"""The parent of N workers: forks them, replaces the dead, passes signals on, and ends after the last of them.

It has no event loop and no threads, so forking a successor is as safe as forking the first worker.
"""

import gc
import math
import os
import random
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from gateway.observe.log.logger import event, use_policy_version
from gateway.observe.metrics.restarts import count_dropped_message, count_restart
from gateway.supervisor import notify
from gateway.supervisor.certificates import read_again, read_new
from gateway.supervisor.cutting import LAST_RESORT_S, cut_overdue
from gateway.supervisor.embedding import LOOK_EVERY_S
from gateway.supervisor.failure import StartFailed
from gateway.supervisor.forking import Forking
from gateway.supervisor.legacy import Legacy
from gateway.supervisor.listening import Doors, pause_queue, resume_queue
from gateway.supervisor.posts import commit
from gateway.supervisor.readiness import Readiness
from gateway.supervisor.rolling import Rolling
from gateway.supervisor.seat import Former, Seat
from gateway.supervisor.signals import heard_signals
from gateway.supervisor.succession import Succession
from gateway.supervisor.switchboard import Switchboard
from gateway.supervisor.upkeep import Upkeep
from gateway.supervisor.watchdog import Watchdog
from gateway.supervisor.worker import EXIT_FAILED, Post, Serve, not_started
from gateway.supervisor.worker_files import WorkerFiles, forget_worker

PAUSE_FROM_S = 0.5  # an empty seat's queue is closed when its successor is further away than this
STOPS = (signal.SIGTERM, signal.SIGINT)


class Supervisor:
    """Runs one worker per post until told to stop.

    on_ready    called once, when the first worker serves calls, with whether it can use the store
    on_complete called once, when all of them do
    upkeep      looked to now and then, and when a child has died: it may have been the embedded server
    """

    def __init__(
        self,
        posts: Sequence[Post],
        doors: Doors,
        serve: Serve,
        *,
        on_ready: Callable[[bool], None],
        on_complete: Callable[[], None],
        upkeep: Upkeep,
        succession: Succession,
    ) -> None:
        self._seats = [Seat(post) for post in posts]
        self._doors = doors
        self._on_ready = on_ready
        self._on_complete: Callable[[], None] | None = on_complete
        self._upkeep = upkeep
        self._store_runs = True
        self._succession = succession
        self._switchboard = Switchboard(count_dropped_message)
        self._readiness = Readiness()
        self._forking = Forking(doors, serve, self._switchboard, self._readiness)
        self._any_ready = False
        self._watchdog_s = notify.watchdog_s()
        self._alive_due = 0.0
        self._mend_due = time.monotonic() + LOOK_EVERY_S
        WorkerFiles(upkeep.directory, self._pids, partial(self._switchboard.tell_all, "runtime.gone", {}))
        self._watchdog = Watchdog(self._seats)
        self._rolling = Rolling(self._seats, self._switchboard, self._fill)
        self._switchboard.on("reload.commit", self._commit)
        self._switchboard.on("reloading", lambda told: notify.reloading() if told["began"] else notify.ready())
        self._switchboard.on("workers.replace", self._replace_all)
        self._legacy = Legacy(self._switchboard)
        self._stop_by: float | None = None
        self._exit_code = 0

    def run(self) -> int:
        """Serve; returns 0 after a clean drain, else the first bad exit code of a worker."""
        gc.freeze()  # what exists now is shared by all workers; do not let their collectors touch its pages
        gc.enable()
        with heard_signals() as heard:
            for watched in (heard.fileno(), self._readiness.fd):
                self._switchboard.poll.register(watched, select.POLLIN)
            self._fill(self._seats[0])  # alone first: what keeps it from starting is said once
            while self._stop_by is None or any(seat.pid or seat.formers for seat in self._seats):
                self._turn(heard)
        return self._exit_code

    def _turn(self, heard: socket.socket) -> None:
        """Wait for something to happen, then see to it."""
        wait_s = self._wait_s()
        for fd, what in self._switchboard.poll.poll(None if wait_s is None else math.ceil(wait_s * 1000)):
            if fd == self._readiness.fd:
                self._note_ready()
            elif fd == heard.fileno():
                for number in dict.fromkeys(heard.recv(4_096)):
                    self._on_signal(number)
            elif fd == self._succession.fd:
                self._hear_successor()
            else:
                self._switchboard.serve(fd, what)
        self._succession.look()
        if self._mend_due <= time.monotonic():
            self._store_runs = self._upkeep.look()
            self._mend_due = time.monotonic() + LOOK_EVERY_S
        self._reap()
        self._fill_due()
        if self._watchdog_s is not None and self._alive_due <= time.monotonic():
            notify.alive()
            self._alive_due = time.monotonic() + self._watchdog_s
        if self._stop_by is None:
            self._rolling.step()
        self._watchdog.look(time.monotonic())
        self._appoint()
        self._stop_by = cut_overdue(self._seats, self._stop_by, time.monotonic())

    def _wait_s(self) -> float | None:
        """Seconds until something is due; None = nothing is."""
        due = [former.cut_at for seat in self._seats for former in seat.formers]
        due += [self._succession.due, self._mend_due, self._watchdog.due]
        if self._stop_by is not None:
            due.append(self._stop_by)
        elif self._any_ready:
            due += [seat.due for seat in self._seats if not seat.pid]
        wait_s = min(due, default=math.inf) - time.monotonic()
        if self._watchdog_s is not None:
            wait_s = min(wait_s, self._watchdog_s)
        return max(0.0, wait_s) if wait_s < math.inf else None

    # -- workers come

    def _fill_due(self) -> None:
        if self._stop_by is not None or not self._any_ready:
            return
        for seat in self._seats:
            if not seat.pid and seat.due <= time.monotonic():
                self._fill(seat)

    def _fill(self, seat: Seat) -> None:
        """Raises StartFailed when that cannot be done and nobody serves yet; else it is tried again, ever later."""
        if seat.queue_paused:
            resume_queue(seat.post.listening)
            seat.queue_paused = False
        seat.taken(0, time.monotonic())
        read_new(seat.post.settings, seat.post.policies)
        try:
            pid, seat.line, seat.pulse = self._forking.fork(self._legacy.to(seat.post))
        except OSError as error:
            if not self._any_ready:
                raise StartFailed(f"cannot start a worker process: {error.strerror}") from error
            told = {"reason": str(error), "restart_in_s": round(self._empty(seat), 3)}
            event("worker.failed", "Worker could not be started", "error", worker=seat.post.index, **told)
            return
        seat.taken(pid, time.monotonic())
        event("worker.started", "Worker process started", worker=seat.post.index, pid=pid)

    def _note_ready(self) -> None:
        for index, store_up in self._readiness.told():
            self._seats[index].ready = True
            self._legacy.hand_over(self._seats[index], time.monotonic())
            if not self._any_ready:
                self._any_ready = True
                self._on_ready(store_up)
        if self._on_complete is not None and all(seat.ready for seat in self._seats):
            self._on_complete()
            self._on_complete = None

    # -- workers go

    def _reap(self) -> None:
        """Take note of every worker that has ended."""
        for seat in self._seats:
            for former in tuple(seat.formers):
                pid, status = os.waitpid(former.pid, os.WNOHANG)
                if pid:
                    self._former_ended(seat, former, os.waitstatus_to_exitcode(status))
            if seat.pid:
                pid, status = os.waitpid(seat.pid, os.WNOHANG)
                if pid:
                    self._reaped(seat, pid, os.waitstatus_to_exitcode(status))

    def _reaped(self, seat: Seat, pid: int, code: int) -> None:
        """`code` < 0: killed by that signal."""
        forget_worker(pid, seat.post.directory)
        if seat.line is not None:
            self._switchboard.close(seat.line)
            seat.line = None
        delay = self._empty(seat)
        if self._stop_by is not None:
            self._exit_code = self._exit_code or (EXIT_FAILED if code < 0 else code)
            event("worker.exited", "Worker ended", worker=seat.post.index, pid=pid, exit_code=code)
        elif not self._any_ready:
            self._exit_code = code if code > 0 else not_started(_killed(code))
            self._stop_by = time.monotonic()
        else:
            count_restart()
            restart = {"exit_code": code, "restart_in_s": round(delay, 3)}
            event(
                "worker.exited", "Worker died, a new one follows", "error", worker=seat.post.index, pid=pid, **restart
            )

    def _empty(self, seat: Seat) -> float:
        """Nobody sits there any more; returns the seconds until a successor is due."""
        delay = seat.left(time.monotonic(), random.random())  # noqa: S311 - spreads restarts, guards nothing
        serving = self._any_ready and self._stop_by is None
        if serving and delay > PAUSE_FROM_S and self._doors.alone(seat.post.listening) and not seat.formers:
            pause_queue(seat.post.listening)
            seat.queue_paused = True
        return delay

    def _former_ended(self, seat: Seat, former: Former, code: int) -> None:
        seat.formers.remove(former)
        forget_worker(former.pid, seat.post.directory)
        if former.line is not None:
            self._switchboard.close(former.line)
        told = {"worker": seat.post.index, "pid": former.pid, "exit_code": code}
        event("worker.replaced", "Worker ended, its successor serves", "info", **told)

    # -- signals

    def _on_signal(self, number: int) -> None:
        if number == signal.SIGCHLD:
            if self._store_runs:
                self._mend_due = 0.0
            return
        if number == signal.SIGUSR2:
            if self._stop_by is None:
                poll = self._switchboard.poll
                self._succession.begin(self._doors.listening, self._doors.admin, poll.register, poll.unregister)
            return
        if number in STOPS and self._stop_by is None:
            self._stop()
        for pid in self._pids():
            os.kill(pid, number)
        if number == signal.SIGHUP:
            read_again(self._seats[0].post.settings, self._seats[0].post.policies)

    def _pids(self) -> Iterator[int]:
        """Of all workers that live."""
        return (pid for seat in self._seats for pid in seat.pids())

    def _stop(self) -> None:
        self._succession.abandon()
        self._close_doors()

    def _hear_successor(self) -> None:
        """All of ours end in peace as soon as another gateway serves in our place."""
        if self._succession.heard():
            self._close_doors()
            self._rolling.retire_all()

    def _close_doors(self) -> None:
        """From now on nobody is replaced, and only the workers hold the listening sockets, until they drain."""
        drain = self._seats[0].post.settings.drain
        drain_s = (drain.delay_us + drain.grace_us) / 1e6
        self._stop_by = time.monotonic() + drain_s + LAST_RESORT_S
        for sock in self._doors.all():
            sock.close()

    # -- what workers ask

    def _appoint(self) -> None:
        """Somebody has to lead, as soon as anybody can."""
        self._switchboard.appoint(seat.line for seat in self._seats if seat.ready and seat.line is not None)

    def _replace_all(self, _asked: Mapping[str, Any]) -> Mapping[str, Any]:
        if self._stop_by is not None:
            raise RuntimeError("the gateway is stopping")
        return {"workers": self._rolling.order()}

    def _commit(self, told: Mapping[str, Any]) -> None:
        """All workers have got a policy set ready: from now on it is what workers begin with. Raises OSError."""
        name = str(told["file"])
        posts = commit([seat.post for seat in self._seats], name)
        for seat, post in zip(self._seats, posts, strict=True):
            seat.post = post
        use_policy_version(posts[0].policies.version)
        read_new(posts[0].settings, posts[0].policies, alone=True)
        self._switchboard.tell_all("reload.commit", told)


def _killed(code: int) -> str:
    """What is said of a worker that said nothing itself. `code`: as of `os.waitstatus_to_exitcode`."""
    if code == 0:
        return "the first worker ended before it served"
    why = "; has the host or container too little memory?" if -code == signal.SIGKILL else ""
    return f"signal {-code} ({signal.strsignal(-code)}) ended the first worker before it served{why}"
