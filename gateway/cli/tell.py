"""Commands that only check and print: whether files are right, and what may stand in them. Nothing is started."""

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Output(StrEnum):
    """How `check` tells what it found."""

    TEXT = "text"
    JSON = "json"
    GITHUB = "github"


def check(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="PATH", help="Policy files, directories, settings files, - for standard input."),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings count as errors.")] = False,
    no_secrets: Annotated[bool, typer.Option("--no-secrets", help="Secrets that are not there are no errors.")] = False,
    show: Annotated[bool, typer.Option("--print", help="Show what would run and where each value is from.")] = False,
    output: Annotated[Output, typer.Option("--format", help="github: annotations of a workflow.")] = Output.TEXT,
    env_file: Annotated[Path | None, typer.Option(metavar="FILE", help="GATEWAY_* variables. Default: ./.env")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> None:
    """Check settings and policies offline. Exit code 0: they are right; 1: they are not.

    Without a path: the settings and policies that `gateway run` would use.
    """
    from gateway.cli.check import run_check
    from gateway.cli.env_file import environment
    from gateway.cli.loading import told

    with told():
        env = environment(os.environ, env_file)
    how = Output.JSON if as_json else output
    code = run_check(
        paths or [], strict=strict, print_effective=show, output=how.value, env=env, need_secrets=not no_secrets
    )
    raise typer.Exit(code)


class SchemaOf(StrEnum):
    """What `schema` describes."""

    POLICIES = "policies"
    SETTINGS = "settings"
    FIXTURES = "fixtures"


def schema(
    of: Annotated[
        SchemaOf, typer.Argument(metavar="WHAT", help="Policy files, the settings file, or fixtures of a sandbox.")
    ] = SchemaOf.POLICIES,
) -> None:
    """Print the JSON Schema of policy files, the settings file or a sandbox's fixtures, for editors."""
    import json

    from gateway.policy.schema import fixtures_schema, policy_schema, settings_schema

    makers = {
        SchemaOf.POLICIES: policy_schema,
        SchemaOf.SETTINGS: settings_schema,
        SchemaOf.FIXTURES: fixtures_schema,
    }
    typer.echo(json.dumps(makers[of](), indent=2))


def dashboard_json() -> None:
    """Print the Grafana board, to import it: Dashboards, New, Import."""
    from gateway.policy.shipped import shipped

    typer.echo(shipped("config/deploy/grafana-dashboard.json").read_text(encoding="utf-8"), nl=False)
