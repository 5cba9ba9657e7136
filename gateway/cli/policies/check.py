"""`gateway check`: whether settings and policies are right."""

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.command.options import EnvFile, path


class Output(StrEnum):
    """How `check` tells what it found."""

    TEXT = "text"
    JSON = "json"
    GITHUB = "github"


def check(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="PATH", parser=path, help="Policy files, directories, settings files, - for standard input."
        ),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings count as errors.")] = False,
    no_secrets: Annotated[bool, typer.Option("--no-secrets", help="Missing secrets are no errors.")] = False,
    show: Annotated[
        bool, typer.Option("--print", help="Show what would be used, and where each value is from.")
    ] = False,
    output: Annotated[
        Output | None, typer.Option("--format", show_default=Output.TEXT, help="github: annotations of a workflow.")
    ] = None,
    env_file: EnvFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> None:
    """Check settings and policies offline. Exit code 0: they are right; 1: they are not.

    Without a path: the settings and policies that `gateway run` would use.
    """
    from gateway.cli.files.env_file import environment
    from gateway.cli.files.loading import told
    from gateway.cli.policies.checking import run_check

    if as_json and output not in (None, Output.JSON):
        raise typer.BadParameter(f"give either --json or --format {output}")
    with told():
        env = environment(os.environ, env_file)
    how = Output.JSON if as_json else output or Output.TEXT
    code = run_check(
        paths or [], strict=strict, print_effective=show, output=how.value, env=env, need_secrets=not no_secrets
    )
    raise typer.Exit(code)
