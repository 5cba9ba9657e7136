"""What a container or a systemd unit leaves of the host, in files as the kernel has them."""

from pathlib import Path

import pytest

from gateway import control_groups
from gateway.control_groups import memory_limit_bytes, usable_cores
from gateway.store.embedded import server

MIB = 1024 * 1024
UNIT = "0::/system.slice/gateway.service\n"
VERSION_1 = "5:memory:/docker/1f\n4:cpu,cpuacct:/docker/1f\n1:name=systemd:/docker/1f\n"


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Which groups the process is in. It has 16 cores."""
    monkeypatch.setattr(control_groups.os, "sched_getaffinity", lambda _pid: set(range(16)), raising=False)
    return tmp_path / "own"


def write(root: Path, place: str, text: str) -> None:
    (root / place).parent.mkdir(parents=True, exist_ok=True)
    (root / place).write_text(f"{text}\n")


@pytest.mark.parametrize(
    ("group", "files", "cores"),
    [
        ("", {}, 16),
        ("0::/\n", {"cpu.max": "max 100000"}, 16),
        ("0::/\n", {"cpu.max": "25000 100000"}, 1),
        ("0::/\n", {"cpu.max": "150000 100000"}, 2),
        ("0::/\n", {"cpu.max": "9900000 100000"}, 16),
        ("0::/\n", {"cpu.max": "nonsense"}, 16),
        ("0::/../../elsewhere\n", {"cpu.max": "200000 100000"}, 2),
        (UNIT, {"system.slice/gateway.service/cpu.max": "300000 100000"}, 3),
        (UNIT, {"system.slice/gateway.service/cpu.max": "max 100000", "system.slice/cpu.max": "400000 100000"}, 4),
        (VERSION_1, {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 16),
        (VERSION_1, {"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"}, 1),
        (VERSION_1, {"cpu/docker/1f/cpu.cfs_quota_us": "250000", "cpu/docker/1f/cpu.cfs_period_us": "100000"}, 3),
    ],
)
def test_cores(tmp_path: Path, own: Path, group: str, files: dict[str, str], cores: int) -> None:
    own.write_text(group)
    for place, text in files.items():
        write(tmp_path / "root", place, text)
    assert usable_cores(tmp_path / "root", own) == cores


@pytest.mark.parametrize(
    ("group", "files", "limit_bytes"),
    [
        ("", {}, None),
        ("0::/\n", {"memory.max": "max"}, None),
        ("0::/\n", {"memory.max": str(128 * MIB)}, 128 * MIB),
        (UNIT, {"system.slice/gateway.service/memory.max": "max", "system.slice/memory.max": "1048576"}, MIB),
        (VERSION_1, {"memory/docker/1f/memory.limit_in_bytes": str(512 * MIB)}, 512 * MIB),
        (VERSION_1, {"memory/memory.limit_in_bytes": str(64 * MIB)}, 64 * MIB),
    ],
)
def test_memory(tmp_path: Path, own: Path, group: str, files: dict[str, str], limit_bytes: int | None) -> None:
    own.write_text(group)
    for place, text in files.items():
        write(tmp_path / "root", place, text)
    assert memory_limit_bytes(tmp_path / "root", own) == limit_bytes


@pytest.mark.parametrize(
    ("limit_bytes", "most"), [(None, 256), (2**63 - 4096, 256), (1024 * MIB, 256), (128 * MIB, 32)]
)
def test_the_embedded_store_leaves_the_gateway_its_part(
    monkeypatch: pytest.MonkeyPatch, limit_bytes: int | None, most: int
) -> None:
    monkeypatch.setattr(server, "memory_limit_bytes", lambda: limit_bytes)
    assert server.max_memory_bytes() == most * MIB
