"""The Dockerfile says what docs/operations.md and the files of config/deploy rely on. `.ci/image` builds and runs it."""

import json
import re
from pathlib import Path

import typer

from gateway.cli import app

TEXT = (Path(__file__).parents[2] / "Dockerfile").read_text()
IGNORED = (Path(__file__).parents[2] / ".dockerignore").read_text().splitlines()


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
    assert [name for name in copied if not (Path(__file__).parents[2] / name).exists()] == []
