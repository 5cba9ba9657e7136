"""Runs a server that must not outlive the process that asked for it. A program of its own, run by `server.py`:

    python -I -S keeper.py exec PARENT_PID SERVER ARGUMENT...      Linux
    python -I -S keeper.py watch PARENT_PID SERVER ARGUMENT...     anywhere

`exec` asks the kernel to kill this process when its parent ends, however it ends, and becomes the server (prctl(2):
the request survives execve). It is tied to the parent's thread, so the parent must start it from its main thread.
`watch` stays, with the server as its child, and kills it when standard input closes. The parent, and what it forks,
hold the other end.

Imports nothing of the gateway: it is started with nothing but the standard library, to be quick.
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading

PR_SET_PDEATHSIG = 1


def execute(parent_pid: int, command: list[str]) -> int:
    """Become the server, unless the parent is gone already. By SIGKILL: nothing is to be saved, and it cannot hang."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    if os.getppid() == parent_pid:
        os.execv(command[0], command)  # noqa: S606 - the path comes from our own parent
    return 1


def watch(_parent_pid: int, command: list[str]) -> int:
    """Run the server until it ends, standard input closes, or SIGTERM comes."""
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL)  # noqa: S603 - as above

    def wait_for_the_end() -> None:
        while os.read(0, 1):  # not sys.stdin, whose lock would trouble the interpreter's exit
            pass
        server.kill()

    signal.signal(signal.SIGTERM, lambda _number, _frame: server.kill())
    threading.Thread(target=wait_for_the_end, daemon=True).start()
    return abs(server.wait())


if __name__ == "__main__":
    run = {"exec": execute, "watch": watch}[sys.argv[1]]
    sys.exit(run(int(sys.argv[2]), sys.argv[3:]))
