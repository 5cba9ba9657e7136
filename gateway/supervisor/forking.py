"""From the supervisor's process to a worker's: what is forked, and what of the parent's it gives up."""

import os
import sys
from dataclasses import replace
from functools import partial

from gateway.observe.log.logger import close_logging, event
from gateway.supervisor.failure import StartFailed
from gateway.supervisor.listening import Doors
from gateway.supervisor.pulse import Pulse
from gateway.supervisor.readiness import Readiness
from gateway.supervisor.signals import forget_signals, held_signals
from gateway.supervisor.stack import offer_stack
from gateway.supervisor.switchboard import Line, Switchboard
from gateway.supervisor.threads import check_threads
from gateway.supervisor.worker import EXIT_FAILED, Post, Serve, end_with_parent, not_started, run_worker


class Forking:
    """Makes worker processes. `serve` is one worker's whole life."""

    def __init__(self, doors: Doors, serve: Serve, switchboard: Switchboard, readiness: Readiness) -> None:
        self._doors = doors
        self._serve = serve
        self._switchboard = switchboard
        self._readiness = readiness
        self._lifeline_fd, self._alive_fd = os.pipe()  # the write end stays open as long as this process lives

    def fork(self, post: Post) -> tuple[int, Line, Pulse]:
        """(pid, the line to it, its sign of life) of a new worker. Raises OSError when the host has no process, no file
        or no memory for it."""
        sys.stdout.flush()  # or the child would write it a second time
        sys.stderr.flush()
        line = self._switchboard.open(post.index)
        try:
            pulse = Pulse()
            with held_signals():
                pid = os.fork()
                if pid == 0:
                    self._live(replace(post, pulse=pulse), line)
        except OSError:
            self._switchboard.close(line)
            raise
        self._switchboard.connect(line)
        return pid, line, pulse

    def _live(self, post: Post, line: Line) -> None:
        """The child: one worker's life, and then the end of this process."""
        code = EXIT_FAILED
        try:
            check_threads()
            self._leave_parent(post, line)
            code = run_worker(
                replace(post, ready=partial(self._readiness.tell, post.index), line=line.theirs), self._serve
            )
        except SystemExit:
            code = 0
        except StartFailed as error:
            code = not_started(error)
        except BaseException as error:
            event("worker.failed", "Worker failed", "error", worker=post.index, error_detail=repr(error), exc_info=True)
        finally:
            close_logging()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _leave_parent(self, post: Post, line: Line) -> None:
        """Give up what is the parent's: its signals, its process group (Ctrl-C would come twice), others' sockets."""
        os.setpgid(0, 0)
        forget_signals()
        os.close(self._alive_fd)
        self._readiness.only_tell()
        end_with_parent(self._lifeline_fd)
        if post.directory is not None:
            offer_stack(post.directory)
        from gateway.observe.metrics.counted import let_all_go

        let_all_go()
        self._switchboard.leave(line)
        for sock in self._doors.all() - {post.listening, post.admin}:
            sock.close()
