"""What processes of one gateway leave for each other."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.own_files import is_own, open_own, read_own
from gateway.reload.edition import read_edition


def test_only_what_this_user_has_left_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = tmp_path / "left"
    left.write_bytes(b"kept")
    assert read_own(left) == b"kept"
    monkeypatch.setattr(os, "geteuid", lambda: left.stat().st_uid + 1)
    with pytest.raises(PermissionError, match="another user"):
        read_own(left)
    with pytest.raises(PermissionError, match="another user"):
        read_edition(left)


def by_a_link(path: Path) -> None:
    path.symlink_to(path.with_name("other"))


MADE: dict[str, Callable[[Path], None]] = {"link": by_a_link, "pipe": os.mkfifo, "directory": Path.mkdir}


@pytest.mark.parametrize("what", MADE)
def test_nothing_is_read_or_written_but_files(tmp_path: Path, what: str) -> None:
    """Whoever waits for the other end of a pipe waits for ever."""
    other = tmp_path / "other"
    other.write_bytes(b"other")
    path = tmp_path / "left"
    MADE[what](path)
    with pytest.raises(OSError, match=str(path)):
        read_own(path)
    for flags in (os.O_RDWR | os.O_CREAT, os.O_WRONLY):
        with pytest.raises(OSError, match=str(path)):
            open_own(path, flags)
    assert other.read_bytes() == b"other"


def test_nothing_is_read_or_written_in_a_directory_that_is_a_link(tmp_path: Path) -> None:
    theirs, path = tmp_path / "theirs", tmp_path / "own" / "file"
    theirs.mkdir()
    (theirs / "file").touch()
    path.parent.symlink_to(theirs)
    assert is_own(theirs)
    assert not is_own(path.parent)
    with pytest.raises(OSError, match="something else"):
        read_own(path)
    with pytest.raises(OSError, match="something else"):
        open_own(path, os.O_CREAT | os.O_WRONLY)


def test_what_is_made_is_for_this_user_only(tmp_path: Path) -> None:
    path = tmp_path / "file"
    os.close(open_own(path, os.O_CREAT | os.O_WRONLY))
    assert path.stat().st_mode & 0o777 == 0o600
    assert not is_own(path)
    assert not is_own(tmp_path / "away")
