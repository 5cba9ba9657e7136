"""The directory for one gateway's life."""

import errno
import fcntl
import os
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from gateway.supervisor.failure import StartFailed
from gateway.supervisor.runtime_dir import LOCK, RuntimeDir, runtime_dir
from gateway.supervisor.worker_files import METRICS, WorkerFiles

Told = list[tuple[object, ...]]


@pytest.fixture(autouse=True)
def place(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(runtime))
    return runtime


def test_it_is_private_and_goes_away_with_what_is_in_it(place: Path) -> None:
    with runtime_dir() as directory:
        assert directory.path.parent == place
        assert directory.path.stat().st_mode & 0o777 == 0o700
        (directory.path / "store.sock").touch()
    assert list(place.iterdir()) == []


def test_what_a_killed_gateway_left_is_swept_and_a_living_one_is_not_touched(place: Path) -> None:
    for name in ("gateway-1-dead", "gateway-2-alive"):
        (place / name).mkdir()
        (place / name / LOCK).touch()
    held = os.open(place / "gateway-2-alive" / LOCK, os.O_RDWR)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        with runtime_dir() as directory:
            assert sorted(place.iterdir()) == sorted([directory.path, place / "gateway-2-alive"])
    finally:
        os.close(held)


def test_what_was_killed_while_it_made_one_is_swept_too(place: Path) -> None:
    (place / ".gateway-abc").mkdir()
    (place / ".gateway-abc" / LOCK).touch()
    with runtime_dir() as directory:
        assert [*place.iterdir()] == [directory.path]


def test_other_directories_are_left_alone(place: Path) -> None:
    (place / "gateway-of-somebody").mkdir()
    with runtime_dir():
        pass
    assert [path.name for path in place.iterdir()] == ["gateway-of-somebody"]


def test_cleaners_that_ask_keep_off_it(place: Path) -> None:
    """As systemd-tmpfiles does."""
    with runtime_dir() as directory:
        for _ in range(2):
            theirs = os.open(directory.path, os.O_RDONLY)
            with pytest.raises(BlockingIOError):
                fcntl.flock(theirs, fcntl.LOCK_SH | fcntl.LOCK_NB)
            os.close(theirs)
            shutil.rmtree(directory.path)
            directory.look()


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    """Name, level and what was said of each event."""
    told: Told = []

    def event(name: str, _message: str, level: str, *, directory: str, removed: list[str], reason: str = "") -> None:
        told.append((name, level, removed, reason))

    monkeypatch.setattr(sys.modules[RuntimeDir.__module__], "event", event)
    return told


def looked(directory: RuntimeDir) -> None:
    for _ in range(3):
        directory.look()
        directory.tell()


def test_one_that_is_removed_is_made_again_with_what_was_in_it(place: Path, told: Told) -> None:
    with runtime_dir() as directory:
        folder, mine = directory.folder("metrics"), directory.path / "mine"

        def put_back() -> list[str]:
            there = mine.exists()
            mine.touch()
            return [] if there else ["mine"]

        asked: list[bool] = []
        directory.holds(put_back)
        directory.on_removed(lambda: asked.append(mine.exists()))
        looked(directory)
        told.clear()
        asked.clear()
        shutil.rmtree(directory.path)
        looked(directory)
        assert asked == [True]
        assert told == [("runtime.gone", "warning", [directory.path.name, "metrics", "mine"], "")]
        assert directory.path.stat().st_mode & 0o777 == 0o700
        assert folder.is_dir()
        assert [path.name for path in place.iterdir()] == [directory.path.name]
    assert list(place.iterdir()) == []


REMOVALS: dict[str, Callable[[Path], object]] = {
    "all": shutil.rmtree,
    "the lock": lambda path: (path / LOCK).unlink(),
}


@pytest.mark.parametrize("what", REMOVALS)
def test_what_was_put_back_belongs_to_one_that_lives(place: Path, what: str) -> None:
    with runtime_dir() as directory:
        REMOVALS[what](directory.path)
        directory.look()
        assert {path.name for path in directory.path.iterdir()} == {LOCK}
        with runtime_dir():
            assert (directory.path / LOCK).exists(), "it sweeps what the dead have left"
    assert list(place.iterdir()) == []


def test_what_cannot_be_put_back_is_told_once_and_tried_until_it_can(place: Path, told: Told) -> None:
    with runtime_dir() as directory:
        shutil.rmtree(place)
        looked(directory)
        assert told == [("runtime.gone", "error", [], "No such file or directory")]
        place.mkdir()
        looked(directory)
        assert told[1:] == [("runtime.restored", "info", [directory.path.name], "")]
        assert directory.path.is_dir()


def test_what_somebody_else_has_put_in_its_place_is_not_used(place: Path, told: Told) -> None:
    with runtime_dir() as directory:
        shutil.rmtree(directory.path)
        theirs = directory.path / "theirs"
        theirs.mkdir(parents=True)
        files = open_files()
        looked(directory)
        assert told == [("runtime.gone", "error", [], os.strerror(errno.ENOTEMPTY))]
        assert [*place.iterdir()] == [directory.path]
        assert [*directory.path.iterdir()] == [theirs]
        assert open_files() == files


def test_what_another_user_has_put_there_is_told_as_that(
    place: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    with runtime_dir() as directory:
        asked: list[bool] = []

        def put_back() -> tuple[str, ...]:
            asked.append(True)
            return ()

        directory.holds(put_back)
        shutil.rmtree(directory.path)
        directory.path.mkdir()
        with monkeypatch.context() as us:
            us.setattr(os, "geteuid", lambda: place.stat().st_uid + 1)
            looked(directory)
            assert not directory.ours
        assert told == [("runtime.gone", "error", [], "another user has taken its name")]
        assert asked == []
        looked(directory)
        assert directory.ours


def test_what_cannot_be_had_of_one_part_keeps_no_other_from_coming_back(place: Path, told: Told) -> None:
    with runtime_dir() as directory:
        fails = [OSError(errno.ENOTSUP, "no way back"), OSError(errno.EIO, "another")]

        def cannot(number: int) -> list[str]:
            if fails:
                raise fails[number]
            return []

        directory.holds(partial(cannot, 0))
        directory.holds(partial(cannot, 1))
        folder = directory.folder("metrics")
        asked: list[bool] = []
        directory.on_removed(lambda: asked.append(folder.is_dir()))
        looked(directory)
        for _ in range(2):
            folder.rmdir()
            looked(directory)
        assert told == [
            ("runtime.gone", "error", [], "no way back"),
            ("runtime.gone", "warning", ["metrics"], ""),
            ("runtime.gone", "warning", ["metrics"], ""),
        ]
        assert asked == [True, True]
        fails.clear()
        looked(directory)
        assert told[3:] == [("runtime.restored", "info", [], "")]


def test_where_no_file_can_be_opened_none_stays_open(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(*_: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with runtime_dir() as directory:
        (directory.path / LOCK).unlink()
        before = open_files()
        for name in ("open", "dup"):
            with monkeypatch.context() as short:
                short.setattr(os, name, none_left)
                directory.look()
            assert open_files() == before
        directory.look()
        assert open_files() == before
        assert (directory.path / LOCK).exists()


def test_a_key_set_that_is_removed_alone_is_asked_for(place: Path, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    with runtime_dir() as directory:
        monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(directory.folder(METRICS)))
        asked: list[bool] = []
        WorkerFiles(directory, lambda: [os.getpid()], lambda: asked.append(True))
        kept = directory.path / "jwks-abc"
        hidden = directory.path / f".jwks-abc-{os.getpid()}"
        kept.touch()
        hidden.touch()
        looked(directory)
        hidden.unlink()
        looked(directory)
        assert asked == [], "of what is there, or was about to get its name"
        kept.unlink()
        looked(directory)
        assert (asked, told) == ([True], [])


def open_files() -> int:
    return len([*Path("/proc/self/fd").iterdir()])


def test_a_session_that_ends_does_not_take_it_along(
    place: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", "")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(place))
    with runtime_dir() as directory:
        assert directory.path.parent == place


def test_no_place_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setenv("RUNTIME_DIRECTORY", "")
    monkeypatch.setattr("tempfile.gettempdir", nowhere)
    with pytest.raises(StartFailed, match="No usable temporary directory found; set TMPDIR"), runtime_dir():
        pass
