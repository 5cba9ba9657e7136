"""Completion, as a real shell does it with what `gateway --show-completion bash` prints."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = f"""#!{sys.executable}
import sys
sys.argv[0] = "gateway"
from gateway.cli import main
main()
"""
ASK = 'source completion.sh; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _gateway_completion gateway; echo "${COMPREPLY[@]}"'


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with a program `gateway`, as it is installed, and its completion."""
    program = tmp_path / "gateway"
    program.write_text(PROGRAM)
    program.chmod(0o755)
    # Which shell it is for is seen from the processes above, of which a test that no shell started has none.
    script = run(tmp_path, "bash", "-c", "gateway --show-completion && true")
    (tmp_path / "completion.sh").write_text(script)
    return tmp_path


def run(place: Path, *words: str) -> str:
    env = {**os.environ, "PATH": f"{place}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, cwd=place, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_commands_and_options_are_completed(place: Path) -> None:
    def completed(*words: str) -> list[str]:
        return run(place, "bash", "-c", ASK, "bash", *words).split()

    assert completed("gateway", "li") == ["limits"]
    assert completed("gateway", "status", "--wat") == ["--watch"]
    assert completed("gateway", "top", "--by", "re") == ["rejected", "requests"]
