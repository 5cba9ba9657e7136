"""Options that several commands share: one spelling and one sentence of help each."""

from pathlib import Path
from typing import Annotated

import typer

Config = Annotated[
    Path | None,
    typer.Option(
        "-c", "--config", metavar="FILE", help="Settings. Default: ./config/gateway.yaml, else the shipped ones."
    ),
]
Policies = Annotated[Path | None, typer.Option("-p", "--policies", metavar="PATH", help="Policy file or directory.")]
EnvFile = Annotated[Path | None, typer.Option(metavar="FILE", help="File of GATEWAY_* variables. Default: ./.env")]
Admin = Annotated[
    str,
    typer.Option(metavar="[https://]HOST:PORT", help="The admin listener to ask. Default: the one of the settings."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Key = Annotated[
    list[str] | None, typer.Argument(metavar="KEY", help="Values of its key parts in order; ~ = without one.")
]
"""Of a limit or breaker: whose counter is meant."""
