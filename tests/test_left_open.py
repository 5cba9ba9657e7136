"""A test that leaves a socket open fails the run, and does not stop it."""

import subprocess
import sys
from pathlib import Path

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


def test_what_is_left_open_fails_the_run_and_does_not_stop_it(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_it.py").write_text(LEAVING)
    options = ("-c", ROOT / "pyproject.toml", "--rootdir", tmp_path, "-p", "no:cacheprovider", tmp_path)
    words = [sys.executable, "-m", "pytest", *map(str, options)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 1, done.stdout
    assert "test_leaves: unclosed resource <UnixTransport" in done.stdout
    assert "2 passed" in done.stdout
