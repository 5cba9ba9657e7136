"""`gateway hash-key`: the hash of an API key, for a policy."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.command.failing import FAILED, fail
from gateway.cli.command.options import EnvFile

MIN_KEY_CHARS = 20


def hash_key(
    pepper: Annotated[
        str, typer.Option(metavar="REF", help="The scheme's pepper: env:NAME or file:/path. Default: none.")
    ] = "",
    env_file: EnvFile = None,
) -> None:
    """Read an API key from standard input and print its hash, for `hash:` in a policy. The key is kept nowhere."""
    from gateway.core.access.authentication import hash_text

    if env_file is not None and not pepper:
        raise typer.BadParameter("--env-file is for --pepper env:NAME: add it")
    interactive = sys.stdin.isatty()
    key = typer.prompt("API key", hide_input=True, err=True) if interactive else _line()
    if len(key) < MIN_KEY_CHARS:
        fail(FAILED, f"an API key has at least {MIN_KEY_CHARS} characters; try: openssl rand -base64 32")
    typer.echo(hash_text(key, _pepper(pepper, env_file) if pepper else b""))


def _line() -> str:
    """The one line on standard input."""
    text = sys.stdin.buffer.read(64 * 1024).decode("utf-8", "replace").strip()
    if "\n" in text or "\ufffd" in text:
        fail(FAILED, "expected one API key as one line of text")
    return text


def _pepper(reference: str, env_file: Path | None) -> bytes:
    from gateway.cli.files.env_file import BadEnvFile, environment
    from gateway.policy.compile.api_keys import read_pepper
    from gateway.policy.findings import Findings

    findings = Findings()
    try:
        pepper = read_pepper(reference, environment(os.environ, env_file), findings)
    except BadEnvFile as error:
        fail(FAILED, str(error))
    if findings.errors:
        fail(FAILED, str(findings.errors[0]))
    return pepper
