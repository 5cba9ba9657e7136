"""Tests that hang are ended, on either event loop, and so is what hangs while they are torn down."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
CONFTEST = """
import asyncio, uvloop

pytest_plugins = ["tests.too_late"]

def pytest_asyncio_loop_factories():
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
"""
HANGING = """
import asyncio, pytest

torn_down = []

@pytest.fixture
def started_first():
    yield
    torn_down.append("first")

@pytest.fixture
async def never_ends():
    yield
    torn_down.append("never")
    await asyncio.Event().wait()

async def test_hangs(started_first, never_ends):
    await asyncio.Event().wait()

@pytest.mark.timeout(30)
def test_next():
    assert torn_down == ["never", "first"] * 2
"""


def test_what_hangs_is_ended_and_the_rest_is_torn_down(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_it.py").write_text(HANGING)
    options = ("-c", ROOT / "pyproject.toml", "--rootdir", tmp_path, "-p", "no:cacheprovider", "--timeout", "0.5")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, tmp_path], cwd=ROOT, capture_output=True, text=True, timeout=50
    )
    assert "2 failed, 1 passed, 2 errors" in done.stdout, done.stdout
    assert done.stdout.count("not over after 0.5 s") >= 4
    assert ": test_hangs (test_it.py:18) > Event.wait (locks.py:" in done.stdout, done.stdout
