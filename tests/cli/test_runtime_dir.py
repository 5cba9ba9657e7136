"""The directory for one gateway's life."""

import fcntl
import os
from pathlib import Path

import pytest

from gateway.supervisor.failure import StartFailed
from gateway.supervisor.runtime_dir import LOCK, runtime_dir


@pytest.fixture(autouse=True)
def place(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(runtime))
    return runtime


def test_it_is_private_and_goes_away_with_what_is_in_it(place: Path) -> None:
    with runtime_dir() as directory:
        assert directory.parent == place
        assert directory.stat().st_mode & 0o777 == 0o700
        (directory / "store.sock").touch()
    assert list(place.iterdir()) == []


def test_what_a_killed_gateway_left_is_swept_and_a_living_one_is_not_touched(place: Path) -> None:
    for name in ("gateway-1-dead", "gateway-2-alive"):
        (place / name).mkdir()
        (place / name / LOCK).touch()
    held = os.open(place / "gateway-2-alive" / LOCK, os.O_RDWR)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        with runtime_dir() as directory:
            assert sorted(place.iterdir()) == sorted([directory, place / "gateway-2-alive"])
    finally:
        os.close(held)


def test_other_directories_are_left_alone(place: Path) -> None:
    (place / "gateway-of-somebody").mkdir()
    with runtime_dir():
        pass
    assert [path.name for path in place.iterdir()] == ["gateway-of-somebody"]


def test_no_place_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setenv("RUNTIME_DIRECTORY", "")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "")
    monkeypatch.setattr("tempfile.gettempdir", nowhere)
    with pytest.raises(StartFailed, match="No usable temporary directory found; set TMPDIR"), runtime_dir():
        pass
