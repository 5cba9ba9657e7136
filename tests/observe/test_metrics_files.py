"""Files of metrics on a disk that may be full: what has no room is kept back, and ends nobody."""

import errno
import os
from pathlib import Path

import pytest
from prometheus_client.mmap_dict import MmapedDict

from gateway.observe.metrics.files import MetricsFile, put_back

MANY = [f"{number:04}" * 10 for number in range(2_000)]
"""Too many for the room that a file begins with."""


def full(_file: int, _from: int, _size: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def found(path: Path) -> dict[str, float]:
    """What somebody else reads there."""
    values = MmapedDict.read_all_values_from_file(str(path))  # type: ignore[no-untyped-call]
    return {key.strip(): value for key, value, _, _ in values}


def test_all_that_is_written_has_its_place_on_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "counter_1.db"
    file = MetricsFile(str(path))
    for number, key in enumerate(MANY):
        file.write_value(key, float(number), 0.0)
        about = path.stat()
        assert about.st_blocks * 512 >= about.st_size
    file.close()
    assert found(path) == {key: float(number) for number, key in enumerate(MANY)}
    again = MetricsFile(str(path))
    assert again.read_value(MANY[7]) == (7.0, 0.0)
    again.close()


def test_a_file_that_finds_no_room_begins_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "counter_1.db"
    with monkeypatch.context() as disk:
        disk.setattr(os, "posix_fallocate", full)
        file = MetricsFile(str(path))
        assert file.read_value("a") == (0.0, 0.0)
        file.write_value("a", 5.0, 0.0)
        assert path.stat().st_size == 0, "as of a worker that begins just now"
    file.write_value("a", 6.0, 0.0)
    assert found(path) == {"a": 6.0}
    file.close()


def test_one_that_finds_no_more_room_goes_on_with_what_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "counter_1.db"
    file = MetricsFile(str(path))
    file.write_value("a", 1.0, 0.0)
    with monkeypatch.context() as disk:
        disk.setattr(os, "posix_fallocate", full)
        for key in MANY:
            file.write_value(key, 1.0, 0.0)
        file.write_value("a", 2.0, 0.0)
        there = found(path)
        assert 1 < len(there) < len(MANY)
        assert there["a"] == 2.0
    for key in MANY:
        file.write_value(key, 3.0, 0.0)
    assert found(path) == {"a": 2.0} | dict.fromkeys(MANY, 3.0)
    file.close()


def test_a_directory_that_is_gone_is_no_reason_to_fail(tmp_path: Path) -> None:
    path = tmp_path / "away" / "counter_1.db"
    file = MetricsFile(str(path))
    file.write_value("a", 1.0, 0.0)
    path.parent.mkdir()
    file.write_value("a", 2.0, 0.0)
    assert found(path) == {"a": 2.0}
    file.close()


def test_a_file_that_never_had_room_is_closed_like_any_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "posix_fallocate", full)
    MetricsFile(str(tmp_path / "counter_1.db")).close()


def test_a_file_that_is_removed_comes_back_with_all_that_was_counted(tmp_path: Path) -> None:
    path = tmp_path / "counter_1.db"
    file = MetricsFile(str(path))
    assert put_back() == []
    for key in MANY[:1_000]:
        file.write_value(key, 1.0, 0.0)
    path.unlink()
    for key in MANY[500:]:
        file.write_value(key, 2.0, 0.0)
    assert not path.exists(), "or somebody would read half of it"
    assert put_back() == [path.name]
    assert found(path) == dict.fromkeys(MANY[:500], 1.0) | dict.fromkeys(MANY[500:], 2.0)
    file.write_value(MANY[0], 3.0, 0.0)
    assert found(path)[MANY[0]] == 3.0
    assert [one.name for one in tmp_path.iterdir()] == [path.name]
    file.close()


def test_one_that_finds_no_room_to_come_back_does_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "counter_1.db"
    file = MetricsFile(str(path))
    file.write_value("a", 1.0, 0.0)
    path.unlink()
    with monkeypatch.context() as disk:
        disk.setattr(os, "posix_fallocate", full)
        assert put_back() == [path.name]
        file.write_value("b", 1.0, 0.0)
        assert not path.exists()
    file.write_value("b", 2.0, 0.0)
    assert found(path) == {"a": 1.0, "b": 2.0}
    file.close()
