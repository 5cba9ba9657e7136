"""Gateways born in a nursery are as good as others, and never outlive it."""

import os
import signal
from pathlib import Path

import pytest

from tests.cli.conftest import alive
from tests.fakes.nursery import Child, Nursery, opened
from tests.fakes.waiting import until


def born(nursery: Nursery, folder: Path, *arguments: str, **env: str) -> Child:
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        return nursery.gateway(*arguments, cwd=folder, env={**os.environ, **env}, stdout=out, stderr=err)


def test_each_has_its_own_arguments_directory_environment_and_end(nursery: Nursery, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("version: 2\n")
    assert born(nursery, tmp_path, "check", "bad.yaml").wait() == 1
    assert "bad.yaml:1:10" in (tmp_path / "out").read_text() + (tmp_path / "err").read_text()
    assert born(nursery, tmp_path, "run", GATEWAY_LISTEN="nowhere").wait() == 1
    assert "nowhere" in (tmp_path / "err").read_text()
    assert born(nursery, tmp_path, "--version").wait() == 0
    assert (tmp_path / "out").read_text().startswith("gateway ")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_none_outlives_it(tmp_path: Path, workers: str) -> None:
    words = ("run", "-q", "--listen", "127.0.0.1:0", "--admin", "off", "--store", "local", "--workers", workers)
    with opened() as nursery:
        lives = born(nursery, tmp_path, *words)
        killed = born(nursery, tmp_path, *words)
        killed.send_signal(signal.SIGKILL)
        assert killed.wait(20) == -signal.SIGKILL
        assert lives.poll() is None
    assert lives.wait(20) == -signal.SIGKILL
    until(lambda: not alive(lives.pid), "it is gone")
