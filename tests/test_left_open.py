"""A test that leaves a socket open fails the run, and does not stop it."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CONFTEST = """
import uvloop

pytest_plugins = ["tests.left_open"]

def pytest_asyncio_loop_factories():
    return {"uvloop": uvloop.new_event_loop}
"""
LEAVING = """
import asyncio, socket

ends = socket.socketpair()

async def test_leaves():
    ends[0].setblocking(False)
    await asyncio.get_running_loop().create_unix_connection(asyncio.Protocol, sock=ends[0])

def test_next():
    pass
"""


@pytest.mark.parametrize("processes", ["0", "1"])
def test_what_is_left_open_fails_the_run_and_does_not_stop_it(tmp_path: Path, processes: str) -> None:
    """Also when tests run in processes of their own."""
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_it.py").write_text(LEAVING)
    options = ("-c", ROOT / "pyproject.toml", "--rootdir", tmp_path, "-p", "no:cacheprovider", "-n", processes)
    words = [sys.executable, "-m", "pytest", *map(str, options), str(tmp_path)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 1, done.stdout
    assert "test_leaves: unclosed resource <UnixTransport" in done.stdout
    assert "2 passed" in done.stdout
