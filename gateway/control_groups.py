"""What the control groups (cgroups, version 1 or 2) of this process leave it of its host: a container's limits, or
those of a systemd unit. The groups above its own count as well, as far as they can be seen. Only Linux has them.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

ROOT = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")  # lines `0::/a/b` (version 2) and `4:cpu,cpuacct:/a/b`


def usable_cores(root: Path = ROOT, own: Path = OWN) -> int:
    """Cores of this process's affinity mask, fewer if a quota of CPU time is less; at least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([cores, *_cpu_quotas(root, own)]))


def memory_limit_bytes(root: Path = ROOT, own: Path = OWN) -> int | None:
    """None = no limit but the host's memory."""
    return min(_memory_limits(root, own), default=None)


def _cpu_quotas(root: Path, own: Path) -> Iterator[int]:
    """In cores, rounded up."""
    for group in _groups("cpu", root, own):
        with suppress(OSError, ValueError):  # no such file, or "max": no limit here
            quota, period = (group / "cpu.max").read_text().split()
            yield -(-int(quota) // int(period))
        with suppress(OSError, ValueError):
            quota_us = int((group / "cpu.cfs_quota_us").read_text())
            if quota_us > 0:
                yield -(-quota_us // int((group / "cpu.cfs_period_us").read_text()))


def _memory_limits(root: Path, own: Path) -> Iterator[int]:
    for group in _groups("memory", root, own):
        for name in ("memory.max", "memory.limit_in_bytes"):  # without a limit: "max", and almost 2^63
            with suppress(OSError, ValueError):
                yield int((group / name).read_text())


def _groups(controller: str, root: Path, own: Path) -> Iterator[Path]:
    """Directories of this process's groups and those above them. In a container the root is its own group, whatever
    the path of that is called outside."""
    lines = ["0::/", f"0:{controller}:/"]
    with suppress(OSError):
        lines += own.read_text().splitlines()
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        place = root / controller if controllers else root
        inner = PurePosixPath(path.lstrip("/"))
        for group in (inner, *inner.parents):
            yield place / group
