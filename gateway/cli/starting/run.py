"""`gateway run`: start serving, in one command, with a useful default for everything."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from gateway.cli.command.failing import NOT_STARTED, fail, words_of
from gateway.cli.command.options import Config, EnvFile, Policies, filled
from gateway.memory import loading
from gateway.signals import ignore_asking

if TYPE_CHECKING:
    from gateway.supervisor import Running

Upstream = Annotated[
    str | None, typer.Option(parser=filled, metavar="URL", help="Put the shipped default policy in front of this API.")
]
Address = Annotated[
    str | None, typer.Option(parser=filled, metavar="HOST:PORT", help="Where callers reach the gateway.")
]
Admin = Annotated[
    str | None, typer.Option(parser=filled, metavar="HOST:PORT", help="Where health, metrics and the admin API are.")
]
Workers = Annotated[
    str | None, typer.Option(parser=filled, metavar="N|auto", help="Processes that serve calls; auto: one per CPU.")
]
StoreUrl = Annotated[
    str | None, typer.Option(parser=filled, metavar="URL", help="Where counters live: embedded, local, redis://...")
]
LogLevel = Annotated[str | None, typer.Option(parser=filled, metavar="LEVEL", help="debug, info, warning or error.")]
Dev = Annotated[bool, typer.Option("--dev", help="Logs for people to read, also when not on a terminal.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Print nothing on stderr about what has started.")]


def run(
    config: Config = None,
    policies: Policies = None,
    upstream: Upstream = None,
    listen: Address = None,
    admin: Admin = None,
    workers: Workers = None,
    store: StoreUrl = None,
    env_file: EnvFile = None,
    log_level: LogLevel = None,
    dev: Dev = False,
    quiet: Quiet = False,
) -> None:
    """Serve calls until SIGTERM or Ctrl-C. Without options: the shipped policies and a sample upstream."""
    if upstream and policies:
        raise typer.BadParameter("give either --policies or --upstream: the latter brings its own policy")
    ignore_asking()
    options = {
        "policies": policies,
        "listen": listen,
        "admin": admin,
        "workers": workers,
        "store.url": store,
        "logging.level": log_level,
        "logging.pretty": dev,
    }
    given = {name: value for name, value in options.items() if value}
    try:
        with loading():
            _serve(config, env_file, given, upstream or "", announced=not quiet)
    except OSError as error:
        fail(NOT_STARTED, words_of(error))


def _serve(
    config: Path | None, env_file: Path | None, given: Mapping[str, object], upstream: str, *, announced: bool
) -> NoReturn:
    from gateway.cli.files.loading import read_policies, read_settings, sources_of
    from gateway.policy.settings_file import default_path

    config = config or default_path()  # for good: if it goes, that is a mistake, and no wish for the shipped policies
    settings = read_settings(config, env_file, given)
    loaded = read_policies(settings, env_file, upstream)
    sources = replace(sources_of(config, env_file, given, upstream), began=settings)
    _need_c_parser()
    from gateway import supervisor

    try:
        announce = _announce if announced else (lambda _: None)
        code = supervisor.run(settings, loaded, announce=announce, sources=sources)
    except supervisor.StartFailed as error:
        fail(NOT_STARTED, str(error))
    raise typer.Exit(code)


def _announce(running: "Running") -> None:
    """On stderr: standard output is for the log alone. A stderr that takes nothing (a full disk) stops no gateway."""
    from gateway.cli.starting.banner import banner

    with suppress(OSError):
        typer.echo(banner(running), err=True)


def _need_c_parser() -> None:
    from gateway.wire.head import require_c_parser

    try:
        require_c_parser()
    except RuntimeError as error:
        fail(NOT_STARTED, str(error))
