"""The command `gateway`.

Commands live in the rooms `starting`, `policies`, `watching` and `operating`. They stand on `asking` (a running
gateway), `files` (settings and policies), `showing` (text for people) and `command` (what all of them have). What is
slow to import is imported inside a command.
"""

import os
import sys
from contextlib import suppress
from typing import Annotated

import typer

from gateway import __version__
from gateway.cli.command.failing import DEFECT, FAILED, words_of
from gateway.cli.command.usage import Commands
from gateway.cli.operating import breakers, cache, connections, drain, limits, reload, webhooks
from gateway.cli.policies import check, diff, explain, replay
from gateway.cli.starting import hash_key, init, printed, run
from gateway.cli.watching import healthcheck, status, tail, top
from gateway.standard_streams import end_unread, give_up_unwritten, take_any_text

app = typer.Typer(
    name="gateway",
    cls=Commands,
    help="A reverse proxy that keeps calls to rate-limited APIs inside their limits.",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help and one-line errors, and 60 ms faster
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"gateway {__version__}")
        raise typer.Exit


@app.callback()
def _gateway(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options that come before a command."""


app.command(short_help="Serve calls until SIGTERM or Ctrl-C.")(run.run)
app.command()(check.check)
app.command(short_help="Tell what would happen to a call, and why.")(explain.explain)
app.command(short_help="Tell what another policy set changes, and what gets tighter.")(diff.diff)
app.command(short_help="Play recorded calls through a policy.")(replay.replay)
app.command(short_help="Print the JSON Schema of policies or settings.")(printed.schema)
app.command(short_help="Print the Grafana board.")(printed.dashboard_json)
app.command()(init.init)
app.command()(healthcheck.healthcheck)
app.command()(reload.reload)
app.command(short_help="Print the hash of an API key, for a policy.")(hash_key.hash_key)
app.command(short_help="Show how the gateway is doing.")(status.status)
app.command(short_help="Show who is refused most, or calls most.")(top.top)
app.command()(tail.tail)
app.add_typer(limits.limits, name="limits")
app.add_typer(breakers.breaker, name="breaker")
app.command(short_help="Show how connections are doing; test one.")(connections.connections)
app.add_typer(cache.cache, name="cache")
app.command(short_help="Fail readiness so that callers go elsewhere.")(drain.drain)
app.add_typer(webhooks.webhooks, name="webhooks")


def _run() -> None:
    """Run the command, until all that it prints is written. Raises BrokenPipeError when nobody reads that."""
    try:
        app()
    except SystemExit as ended:
        if isinstance(ended.__context__, BrokenPipeError):  # typer makes exit code 1 of it
            raise ended.__context__ from None
        sys.stdout.flush()
        raise


def main() -> None:
    """Run the command line. Whatever goes wrong ends as one line on stderr and an exit code, never as a traceback."""
    take_any_text()
    try:
        _run()
    except BrokenPipeError:
        end_unread()
    except Exception as error:
        if os.environ.get("GATEWAY_TRACEBACK"):
            raise
        unexpected = f"unexpected {type(error).__name__}: {error} (set GATEWAY_TRACEBACK=1 to see where)"
        code, what = (FAILED, words_of(error)) if isinstance(error, OSError) else (DEFECT, unexpected)
        with suppress(OSError):
            typer.echo(f"gateway: {what}", err=True)
        sys.exit(code)
    finally:
        give_up_unwritten()
