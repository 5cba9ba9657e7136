"""Files that a command is told of and cannot read: one sentence, exit code 1, whichever option named them."""

import os
from pathlib import Path

import pytest

from tests.cli.command import gateway

COMMANDS = (
    ("check", "{}"),
    ("check", "--env-file", "{}"),
    ("run", "-c", "{}"),
    ("run", "-p", "{}"),
    ("run", "--env-file", "{}"),
    ("explain", "GET /", "-p", "{}"),
    ("explain", "GET /", "-c", "{}"),
    ("diff", "{}", "{}"),
    ("replay", "{}"),
    ("status", "-c", "{}"),
    ("status", "--env-file", "{}"),
    ("healthcheck", "-c", "{}"),
    ("healthcheck", "--admin", "https://127.0.0.1:1", "--ca", "{}"),
)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_what_cannot_be_looked_at_is_told_in_one_sentence(tmp_path: Path, words: tuple[str, ...]) -> None:
    odd = tmp_path / ("x" * 300)  # nobody may: also root, who may read everything else
    done = gateway(*(str(odd) if word == "{}" else word for word in words))
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert sum("File name too long" in line for line in said.splitlines()) == 1, said


@pytest.mark.parametrize("words", [*COMMANDS, ("init", "{}")], ids=" ".join)
def test_an_empty_path_is_not_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    done = gateway(*("" if word == "{}" else word for word in words))
    assert (done.returncode, "it is empty" in done.stderr, [*tmp_path.iterdir()]) == (2, True, [])


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_no_path_is_refused_before_somebody_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    """The parser of options would call it an option that does not exist (2), and say so in other words."""
    monkeypatch.setattr(os, "access", lambda *_, **__: False)  # as for files of others; root may read them
    done = gateway(*(str(tmp_path) if word == "{}" else word for word in words))
    assert done.returncode == 1, done.stdout + done.stderr
