"""Commands that ask a running gateway: the options that say which one, once for all of them."""

import inspect
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.cli.asking.client import AdminClient
from gateway.cli.asking.reach import Reach
from gateway.cli.command.options import Admin, Config, EnvFile, path

Ca = Annotated[
    Path | None,
    typer.Option(metavar="FILE", parser=path, help="Authorities to verify the admin listener's certificate with."),
]
Insecure = Annotated[bool, typer.Option("--insecure", help="Do not verify the admin listener's certificate.")]


def _options(
    config: Config = None, env_file: EnvFile = None, admin: Admin = "", ca: Ca = None, insecure: Insecure = False
) -> None:
    """What `asks` adds."""


def asks(command: Callable[..., None]) -> Callable[..., None]:
    """The command with options in the place of its parameter `client`. Those that it has itself it gets, too."""
    own = [one for name, one in inspect.signature(command).parameters.items() if name != "client"]
    names = {one.name for one in own}
    where = inspect.signature(_options).parameters
    parameters = [*own, *(one for one in where.values() if one.name not in names)]

    @wraps(command)
    def asking(**given: Any) -> None:
        reach = Reach(**{name: given[name] for name in where})
        if reach.ca and reach.insecure:
            raise typer.BadParameter("give either --ca or --insecure: the latter verifies nothing")
        command(client=AdminClient(reach), **{name: given[name] for name in names})

    asking.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    asking.__annotations__ = {one.name: one.annotation for one in parameters}
    return asking
