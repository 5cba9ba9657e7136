"""What processes of one gateway leave for each other."""

import os
from pathlib import Path

import pytest

from gateway.own_files import read_own
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
