"""What the operating system says about this process."""

import os
import time
from pathlib import Path

_STATM = Path("/proc/self/statm")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def cpu_s() -> float:
    """CPU seconds used so far, user and system."""
    return time.process_time()


def resident_bytes() -> int:
    """Resident memory; 0 where the system has no /proc."""
    try:
        return int(_STATM.read_bytes().split()[1]) * _PAGE_BYTES
    except OSError:
        return 0
