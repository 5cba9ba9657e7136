"""`gateway init`: a directory to start from, with every key explained, that `check` accepts and `run` serves."""

import os
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.command.failing import FAILED, fail
from gateway.cli.command.options import path

FILES = (
    ("config/gateway.yaml", "config/gateway.yaml"),
    ("config/gateway.schema.json", "config/gateway.schema.json"),
    ("policies/policies.yaml", "policies/examples/starter.yaml"),
    ("policies/policy.schema.json", "policies/policy.schema.json"),
)
"""What is written, and the shipped file that it is a copy of."""


def init(
    directory: Annotated[
        Path,
        typer.Argument(metavar="DIR", parser=path, help="Where to put it; made if it is not there. Default: here."),
    ] = Path(),
) -> None:
    """Write commented settings and policies to start from. Files that are there already are never overwritten."""
    targets = [directory / name for name, _ in FILES]
    there = [target for target in targets if os.path.lexists(target)]
    if there:
        fail(FAILED, "nothing written: already there", *map(str, there))
    for target, (_, source) in zip(targets, FILES, strict=True):
        target.parent.mkdir(parents=True, exist_ok=True)
        _write(target, _text(source))
        typer.echo(f"wrote {target}")
    go_there = "" if directory == Path() else f"cd {directory} && "
    typer.echo(f"next: {go_there}gateway check && gateway run")


def _text(source: str) -> str:
    from gateway.policy.shipped import shipped

    text = shipped(source).read_text(encoding="utf-8")
    return text.replace("$schema=../policy.schema.json", "$schema=policy.schema.json", 1)


def _write(path: Path, text: str) -> None:
    """A new file, never one that somebody else has made meanwhile. Raises OSError."""
    with path.open("x", encoding="utf-8") as file:
        file.write(text)
