"""Where a process is that hangs, and how that is told: the names of files and functions, never a value.

A worker writes it itself, on a signal that C code answers (faulthandler), whatever Python is at. The file for it is in
the gateway's private directory.
"""

import faulthandler
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType

from gateway.observe.log.logger import event
from gateway.own_files import is_own, open_own, read_own

ASKS = signal.SIGURG  # nobody else sends it, and who does not listen passes it over
MOST_CHARS = 8_000
MOST_FRAMES = 100

_offered: list[int] = []
_STATES = {"R": "running", "S": "sleeping", "I": "sleeping", "D": "disk", "T": "stopped", "t": "traced"}


def offer_stack(directory: Path) -> None:
    """In a worker: answer whoever asks. Where there is no file for it, nobody will hear. Done once more, there is
    a file again that somebody has removed."""
    with suppress(OSError):
        fd = open_own(_file(directory, os.getpid()), os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        faulthandler.register(ASKS, file=fd, all_threads=True)
        for before in _offered:
            os.close(before)
        _offered[:] = [fd]


def ask_for_stack(directory: Path, pid: int) -> None:
    """Have a child write it. One that is stopped does so when it goes on."""
    with suppress(OSError):
        fd = open_own(_file(directory, pid), os.O_WRONLY)
        try:
            os.ftruncate(fd, 0)
        finally:
            os.close(fd)
        os.kill(pid, ASKS)


def told_stack(directory: Path, pid: int) -> str:
    """What it has written since it was asked, the thread that matters first; "" = nothing."""
    try:
        text = read_own(_file(directory, pid)).decode(errors="replace")
    except OSError:
        return ""
    threads = sorted(text.strip().split("\n\n"), key=lambda one: not one.startswith("Current thread"))
    return "\n\n".join(threads)[:MOST_CHARS]


def forget_stack(directory: Path, pid: int) -> None:
    """It has ended."""
    with suppress(OSError):  # somebody else may have removed it
        if is_own(directory):
            _file(directory, pid).unlink()


def main_stack() -> str:
    """Of this process's main thread, as another thread of it sees it."""
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    return "\n".join(["Main thread (most recent call first):", *_lines(frame)])


def tell_hung(pid: int, silent_s: float, stack: str, **fields: object) -> None:
    """A worker is killed because its event loop has stood still for so long. `stack` "" = it is not known where."""
    told = {"silent_s": round(silent_s, 1), "exception": stack or None, **fields}
    event("worker.hung", "Worker's event loop stands still, it is killed", "error", pid=pid, **told)


def state_of(pid: int) -> str | None:
    """What the kernel says a process is at; None where nobody says."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    return _STATES.get(stat.rpartition(")")[2].split()[0])


def has_debugger(pid: int) -> bool:
    """Whether somebody traces this process (ptrace), and may be looking at it just now."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(errors="replace")
    except OSError:
        return False
    return any(line.startswith("TracerPid:") and line.split()[1] != "0" for line in status.splitlines())


def _lines(frame: FrameType | None) -> Iterator[str]:
    """As faulthandler writes them."""
    for _ in range(MOST_FRAMES):
        if frame is None:
            return
        yield f'  File "{frame.f_code.co_filename}", line {frame.f_lineno} in {frame.f_code.co_name}'
        frame = frame.f_back


def _file(directory: Path, pid: int) -> Path:
    return directory / f"stack-{pid}"
