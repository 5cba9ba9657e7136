"""Files with counts that somebody removes: a scrape without them is none, and who dies meanwhile leaves its counts all
the same."""

import errno
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.observe.metrics import counted, multiprocess
from gateway.observe.metrics.files import MetricsFile, put_back
from gateway.observe.metrics.multiprocess import AllWorkers, NotThere, see_to_files, worker_died

KEY = json.dumps(["calls", "calls_total", {}, "Calls."])
PIDS = 11, 12


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "metrics"
    folder.mkdir()
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(folder))
    monkeypatch.setattr(counted, "_held", {})
    monkeypatch.setattr(multiprocess, "_left", set())
    monkeypatch.setattr(multiprocess, "_dead", {})
    yield folder
    counted.let_all_go()
    for file in multiprocess._dead.values():
        file.close()


@pytest.fixture
def files(folder: Path) -> Iterator[list[MetricsFile]]:
    """Of two workers with seven calls each, which their supervisor has seen."""
    files = [MetricsFile(str(folder / f"counter_{pid}.db")) for pid in PIDS]
    for file in files:
        file.write_value(KEY, 7.0, 0.0)
    see_to_files()
    yield files
    for file in files:
        file.close()


def calls() -> float:
    return sum(sample.value for metric in AllWorkers().collect() for sample in metric.samples)


def no_room(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("name", [*(f"counter_{pid}.db" for pid in PIDS), counted.LIST])
def test_a_scrape_that_lacks_a_file_is_none(folder: Path, files: list[MetricsFile], name: str) -> None:
    assert calls() == 14
    (folder / name).unlink()
    with pytest.raises(NotThere):
        calls()
    see_to_files()
    put_back()
    assert calls() == 14


def test_nor_is_one_of_what_found_no_room_to_come_back(
    folder: Path, files: list[MetricsFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(folder)
    folder.mkdir()
    with monkeypatch.context() as disk:
        disk.setattr(os, "posix_fallocate", no_room)
        put_back()
        see_to_files()
        with pytest.raises(NotThere):
            calls()
    see_to_files()
    with pytest.raises(NotThere):
        calls()
    files[0].write_value(KEY, 8.0, 0.0)
    assert put_back() == [], "nobody is told a second time"
    assert calls() == 15


def test_a_disk_that_was_full_from_the_start_keeps_nobody_from_scraping(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    see_to_files()
    monkeypatch.setattr(os, "posix_fallocate", no_room)
    MetricsFile(str(folder / "counter_11.db"))
    see_to_files()
    assert calls() == 0


def test_one_that_dies_while_its_file_is_gone_leaves_its_counts(folder: Path, files: list[MetricsFile]) -> None:
    (folder / files[0].name).unlink()
    worker_died(PIDS[0])
    assert calls() == 14
    assert counted.listed(folder) == {"counter_dead.db", files[1].name}
    worker_died(PIDS[1])
    assert calls() == 14
    assert counted.listed(folder) == {"counter_dead.db"}


def test_and_while_all_is_gone(folder: Path, files: list[MetricsFile]) -> None:
    shutil.rmtree(folder)
    worker_died(PIDS[0])
    files[0].close()
    with pytest.raises(NotThere):
        calls()
    folder.mkdir()
    put_back()
    see_to_files()
    assert calls() == 14


def test_in_what_another_user_has_put_in_its_place_nothing_is_touched(folder: Path, files: list[MetricsFile]) -> None:
    theirs = folder.rename(folder.with_name("theirs"))
    folder.symlink_to(theirs)
    before = sorted(theirs.iterdir())
    worker_died(PIDS[0])
    see_to_files()
    with pytest.raises(NotThere):
        calls()
    assert sorted(theirs.iterdir()) == before
    folder.unlink()
    theirs.rename(folder)
    see_to_files()
    assert calls() == 14
    assert counted.listed(folder) == {"counter_dead.db", files[1].name}


def test_the_newest_of_a_name_is_held(folder: Path, files: list[MetricsFile]) -> None:
    """It has come back, and is removed once more."""
    open_files = len([*Path("/proc/self/fd").iterdir()])
    for count in (8.0, 9.0):
        (folder / files[0].name).unlink()
        put_back()
        files[0].write_value(KEY, count, 0.0)
        see_to_files()
        assert len([*Path("/proc/self/fd").iterdir()]) == open_files
    (folder / files[0].name).unlink()
    worker_died(PIDS[0])
    assert calls() == 16
