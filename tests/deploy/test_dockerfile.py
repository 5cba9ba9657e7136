"""The Dockerfile says what docs/operations.md and the files of config/deploy rely on. `.ci/image` builds and runs it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from gateway.cli import app

SOURCE = Path(__file__).parents[2]
TEXT = (SOURCE / "Dockerfile").read_text()
IGNORED = (SOURCE / ".dockerignore").read_text().splitlines()


def the(word: str) -> str:
    """What the only or last instruction of that name says."""
    found: list[str] = re.findall(rf"^{word} (.*)$", TEXT, re.MULTILINE)
    return found[-1]


def test_two_stages_and_no_more_rights_than_needed() -> None:
    first, last = re.findall(r"^FROM (\S+)", TEXT, re.MULTILINE)
    assert first == last
    assert the("USER") == "10001:10001"
    assert the("STOPSIGNAL") == "SIGTERM"


def test_entry_point_health_check_and_command_are_the_gateway_s() -> None:
    command = typer.main.get_command(app)
    assert json.loads(the("ENTRYPOINT")) == ["gateway"]
    health = json.loads(the("HEALTHCHECK").partition("CMD ")[2])
    assert health[0] == "gateway"
    for word in (health[1], json.loads(the("CMD"))[0]):
        assert word in command.commands  # type: ignore[attr-defined]


def test_all_that_is_copied_is_sent_to_the_engine() -> None:
    copied = [name for line in re.findall(r"^COPY (?!--from)(.*) \S+$", TEXT, re.MULTILINE) for name in line.split()]
    assert {f"!{name}" for name in copied} == {line for line in IGNORED if line.startswith("!")}
    assert [name for name in copied if not (SOURCE / name).exists()] == []


@pytest.mark.parametrize(
    ("extras", "refused"),
    [("", ""), ("jwt,oauth,otel", ""), ("JWT, otel", ""), ("jwt,nope", "there is no {'nope'}, but ['jwt', 'oauth', ")],
)
def test_an_extra_that_does_not_exist_ends_the_build(tmp_path: Path, extras: str, refused: str) -> None:
    (step,) = re.findall(r"^RUN (python -c (?:.*\\\n)*.*)$", TEXT, re.MULTILINE)
    (tmp_path / "python").symlink_to(sys.executable)
    built = subprocess.run(
        ["/bin/sh", "-c", step.replace("\\\n", "")],
        cwd=SOURCE,
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "EXTRAS": extras},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (built.returncode != 0) == bool(refused)
    assert refused in built.stderr
