"""`gateway hash-key`: the hash of what comes on standard input, and nothing else."""

import subprocess
import sys
from pathlib import Path

import pytest

from gateway.core.access.authentication import hash_text
from tests.cli.command import gateway

KEY = "gk_0123456789abcdefghijklmnopqrstuv"


def hash_key(key: str, *options: str, cwd: Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gateway", "hash-key", *options]
    return subprocess.run(
        command, input=key, capture_output=True, text=True, cwd=cwd, env=env or {}, timeout=30, check=False
    )


@pytest.mark.parametrize("typed", [KEY, KEY + "\n", f" {KEY}\r\n"])
def test_the_hash_is_what_the_gateway_compares_with(tmp_path: Path, typed: str) -> None:
    done = hash_key(typed, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, hash_text(KEY) + "\n", "")


def test_with_a_pepper(tmp_path: Path) -> None:
    pepper = "0123456789abcdef"
    (tmp_path / "pepper").write_text(pepper + "\n")
    expected = hash_text(KEY, pepper.encode()) + "\n"
    assert hash_key(KEY, "--pepper", "env:PEPPER", cwd=tmp_path, env={"PEPPER": pepper}).stdout == expected
    assert hash_key(KEY, "--pepper", "file:pepper", cwd=tmp_path).stdout == expected


@pytest.mark.parametrize(
    ("key", "options", "said"),
    [
        ("short-hush", (), "at least 20 characters"),
        ("", (), "at least 20 characters"),
        (KEY + "\n" + KEY, (), "one API key as one line"),
        (KEY, ("--pepper", "env:NONE"), "environment variable NONE is not set"),
        (KEY, ("--pepper", "file:none"), "No such file"),
        (KEY, ("--pepper", "hush-hush-hush-hush"), "env:NAME or file:/path"),
    ],
)
def test_what_is_refused(key: str, options: tuple[str, ...], said: str) -> None:
    done = gateway("hash-key", *options, stdin=key)
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr
    assert "hush" not in done.stderr
    assert KEY not in done.stderr
