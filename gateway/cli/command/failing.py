"""Exit codes, and the one way a command says why it failed."""

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import typer

OK = 0
FAILED = 1  # the answer is no: invalid, not ready, cannot be read or written
USAGE = 2  # wrong option or argument; typer's own
UNREACHABLE = 3  # the admin API does not answer, or the store that it asks for the command
NOT_STARTED = 4  # bind, store: of `run` alone
DEFECT = 70  # of ours; EX_SOFTWARE of sysexits.h. Not FAILED: a service manager should start it again


def words_of(error: OSError) -> str:
    """What the system refused, and of which file if it is one's matter."""
    what = error.strerror or str(error) or type(error).__name__
    return f"{error.filename}: {what}" if isinstance(error.filename, str) else what


def fail(code: int, *lines: str) -> NoReturn:
    """Print to stderr, first line after `gateway: `, and exit."""
    first, *rest = lines
    typer.echo("\n".join([f"gateway: {first}", *rest]), err=True)
    raise typer.Exit(code)


def tell_missing(missing: Sequence[Mapping[str, Any]], code: int = OK) -> None:
    """Name the workers that did not answer on stderr; if there are any, exit with `code` unless that is OK."""
    for one in missing:
        typer.echo(f"worker {one['worker']}: {one['reason']}", err=True)
    if missing and code != OK:
        raise typer.Exit(code)
