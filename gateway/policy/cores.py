"""How many CPU cores this process may really use."""

import os
from pathlib import Path

_CGROUP_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # "max 100000", or microseconds per period: "150000 100000"


def usable_cores(quota_file: Path = _CGROUP_QUOTA) -> int:
    """Cores of this process's affinity mask, fewer if a container's CPU quota allows fewer; at least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = quota_file.read_text().split()
        return max(1, min(cores, -(-int(quota) // int(period))))
    except (OSError, ValueError):  # no such limit
        return cores
