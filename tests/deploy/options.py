"""What a `gateway ...` command line in a deployment file says, as the command line itself reads it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from gateway.cli import app


def said(words: Sequence[str], etc: Path) -> dict[str, Any]:
    """The options of `words` ("run", "-c", ...), with /etc/gateway at `etc`. Raises click.UsageError for one that is not there."""
    name, *rest = [word.replace("/etc/gateway", str(etc)) for word in words]
    command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
    options: dict[str, Any] = command.make_context(name, rest).params
    return options


def settings_given(words: Sequence[str], etc: Path) -> dict[str, object]:
    """Of a `run`, what stands above the settings file."""
    options = said(words, etc)
    return {name: options[name] for name in ("listen", "admin", "workers") if options[name]}
