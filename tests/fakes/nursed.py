"""The nursery itself, a program: `python -m tests.fakes.nursed FD`. See `tests/fakes/nursery.py`."""

import gc
import json
import os
import runpy
import selectors
import signal
import socket
import sys
from importlib import import_module
from typing import Any

from gateway.cli import main
from gateway.store.connection import transports

IMPORTED = (
    "gateway.app",
    "gateway.cli.files.loading",
    "gateway.policy.compile.policies",
    "gateway.policy.gather",
    "gateway.policy.settings_file",
    "gateway.supervisor",
    "uvloop",
)
"""What `gateway run` imports when it gets there."""
MOST_BYTES = 2**18
DIAL_TIMEOUT_S = 20.0
"""As for the gateways in pytest's own process: on a busy machine a handshake with a store may take more than a second."""
Child = tuple[int, int]
"""Its pid, and where to say how it ended."""


class Nursery:
    """Forks one child for each message of `control`, and says how each ended."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._children: dict[int, Child] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(control, selectors.EVENT_READ)

    def nurse(self) -> dict[str, Any] | None:
        """Until nobody can ask any more: None, and no child is left. In a child: what it was told to do."""
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is not self._control:
                    self._bury(key.fd)
                    continue
                message, files, _, _ = socket.recv_fds(self._control, MOST_BYTES, 4)
                if not message:
                    self._kill_all()
                    return None
                if told := self._bear(message, files):
                    return told
        return None

    def _bear(self, message: bytes, files: list[int]) -> dict[str, Any] | None:
        *streams, report = files
        pid = os.fork()
        if not pid:
            self._leave(files)
            told: dict[str, Any] = json.loads(message)
            return told
        for stream in streams:
            os.close(stream)
        watched = os.pidfd_open(pid)
        self._children[watched] = pid, report
        self._selector.register(watched, selectors.EVENT_READ)
        os.write(report, str(pid).encode())
        return None

    def _leave(self, files: list[int]) -> None:
        """In the child: its own streams, and nothing of the nursery's."""
        self._selector.close()
        self._control.close()
        for place, stream in enumerate(files[:3]):
            os.dup2(stream, place)
        for watched, (_, report) in self._children.items():
            os.close(watched)
            os.close(report)
        for file in files:
            os.close(file)

    def _bury(self, watched: int) -> None:
        pid, report = self._children.pop(watched)
        self._selector.unregister(watched)
        _, status = os.waitpid(pid, 0)
        os.close(watched)
        try:
            os.write(report, str(os.waitstatus_to_exitcode(status)).encode())
        except BrokenPipeError:
            pass  # nobody wants to know
        finally:
            os.close(report)

    def _kill_all(self) -> None:
        for pid, _ in self._children.values():
            os.kill(pid, signal.SIGKILL)


def begin(told: dict[str, Any]) -> None:
    """Run the command as if this process had just been started for it."""
    os.chdir(told["cwd"])
    os.environ.clear()
    os.environ.update(told["env"])
    if told["arguments"][:1] and told["arguments"][0].endswith(".py"):
        sys.argv = told["arguments"]
        runpy.run_path(sys.argv[0], run_name="__main__")
        return
    sys.argv = ["gateway", *told["arguments"]]
    sys.orig_argv = [sys.executable, "-m", *sys.argv]
    main()


if __name__ == "__main__":
    for name in IMPORTED:
        import_module(name)
    transports.DIAL_TIMEOUT_S = DIAL_TIMEOUT_S
    gc.collect()
    gc.freeze()
    work = Nursery(socket.socket(fileno=int(sys.argv[1]))).nurse()
    if work is not None:
        begin(work)
