"""Options that several commands share: one spelling and one sentence of help each.

No path has to be readable for the parser of options: whoever reads it tells what is wrong with it, in one way.
"""

from pathlib import Path
from typing import Annotated

import typer


def path(text: str | Path) -> Path:
    """For typer's `parser`. Raises ValueError for "", which an unset variable of the shell leaves and `Path` takes for
    the current directory."""
    if text == "":
        raise ValueError("it is empty")
    return Path(text)


def filled(text: str) -> str:
    """For typer's `parser`. Raises ValueError for "": who says nothing with an option has not left it out."""
    if not text:
        raise ValueError("it is empty")
    return text


Config = Annotated[
    Path | None,
    typer.Option(
        "-c",
        "--config",
        metavar="FILE",
        parser=path,
        help="Settings. Default: ./config/gateway.yaml, else the shipped ones.",
    ),
]
Policies = Annotated[
    Path | None, typer.Option("-p", "--policies", metavar="PATH", parser=path, help="Policy file or directory.")
]
EnvFile = Annotated[
    Path | None, typer.Option(metavar="FILE", parser=path, help="File of GATEWAY_* variables. Default: ./.env")
]
Admin = Annotated[
    str,
    typer.Option(metavar="[https://]HOST:PORT", help="The admin listener to ask. Default: the one of the settings."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Reason = Annotated[str, typer.Option(metavar="TEXT", help="Why, for the record.")]
Key = Annotated[
    list[str] | None, typer.Argument(metavar="KEY", help="Values of its key parts in order; ~ = without one.")
]
"""Of a limit or breaker: whose counter is meant."""
