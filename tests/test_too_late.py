"""Tests that hang are ended, on either event loop, and so is what hangs while they are torn down."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CONFTEST = """
import asyncio, uvloop

pytest_plugins = ["tests.too_late"]

def pytest_asyncio_loop_factories():
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
"""
HANGING = """
import asyncio, pytest, signal

torn_down = []

async def hang():
    left_s, again_s = signal.getitimer(signal.ITIMER_REAL)
    assert 0 < left_s <= 25 and again_s == 25
    asyncio.get_running_loop().call_soon(signal.setitimer, signal.ITIMER_REAL, 0.01)  # as if so much had passed
    await asyncio.Event().wait()

@pytest.fixture
def started_first():
    yield
    torn_down.append("first")

@pytest.fixture
async def never_ends():
    yield
    torn_down.append("never")
    await hang()

async def test_hangs(started_first, never_ends):
    await hang()

def test_next():
    assert torn_down == ["never", "first"] * 2
"""
REPORTED = """
import pytest, signal

pytest_plugins = ["tests.too_late"]

@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    signal.raise_signal(signal.SIGALRM)
    return (yield)
"""


def run(folder: Path, conftest: str, tests: str) -> str:
    """What pytest says of these tests, each of which may take 25 seconds."""
    (folder / "conftest.py").write_text(conftest)
    (folder / "test_it.py").write_text(tests)
    options = ("-c", ROOT / "pyproject.toml", "--rootdir", folder, "-p", "no:cacheprovider", "--timeout", "25")
    words = [sys.executable, "-m", "pytest", *map(str, options), "-n", "0", str(folder)]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False).stdout


@pytest.mark.timeout(120)
def test_what_hangs_is_ended_and_the_rest_is_torn_down(tmp_path: Path) -> None:
    said = run(tmp_path, CONFTEST, HANGING)
    assert "2 failed, 1 passed, 2 errors" in said, said
    assert said.count("not over after 25 s") >= 4
    assert ": test_hangs (test_it.py:24) > hang (test_it.py:10) > Event.wait (locks.py:" in said, said


@pytest.mark.timeout(120)
def test_nobody_is_ended_while_it_is_put_down_how_a_test_went(tmp_path: Path) -> None:
    said = run(tmp_path, REPORTED, "def test_passes(): pass")
    assert "1 passed" in said, said
