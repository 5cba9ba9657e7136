"""What the operating system says about this process. Where it has no /proc, what only that knows is 0."""

import os
import resource
import time
from pathlib import Path

_STATM = Path("/proc/self/statm")
_FDS = Path("/proc/self/fd")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_BEGAN = time.time()


def cpu_s() -> float:
    """CPU seconds used so far, user and system."""
    return time.process_time()


def start_time_s() -> float:
    """Epoch seconds, of about when this process began: a worker begins when it is forked."""
    began = _ticks_since_boot()
    return time.time() - (time.clock_gettime(time.CLOCK_BOOTTIME) - began) if began else _BEGAN


def resident_bytes() -> int:
    """Resident memory."""
    return _statm(1)


def virtual_bytes() -> int:
    """Address space."""
    return _statm(0)


def open_fds() -> int:
    """Open file descriptors: since Linux 6.2 the directory's size says it, before that its entries have to be read."""
    try:
        return _FDS.stat().st_size or sum(1 for _ in _FDS.iterdir())
    except OSError:
        return 0


def max_fds() -> int:
    """How many file descriptors may be open; 0 = no bound."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(0, soft) if soft != resource.RLIM_INFINITY else 0


def _statm(field: int) -> int:
    try:
        return int(_STATM.read_bytes().split()[field]) * _PAGE_BYTES
    except OSError:
        return 0


def _ticks_since_boot() -> float:
    """Seconds between the boot and the start of this process (proc(5), `starttime`)."""
    try:
        said = Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return 0.0
    return int(said[19]) / os.sysconf("SC_CLK_TCK")
