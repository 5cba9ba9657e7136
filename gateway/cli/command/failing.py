"""Exit codes, and the one way a command says why it failed."""

from typing import NoReturn

import typer

OK = 0
FAILED = 1  # the answer is no: invalid, not ready
USAGE = 2  # wrong option or argument; typer's own
UNREACHABLE = 3  # the admin API does not answer
NOT_STARTED = 4  # bind, store
DEFECT = 70  # of ours; EX_SOFTWARE of sysexits.h. Not FAILED: a service manager should start it again


def fail(code: int, *lines: str) -> NoReturn:
    """Print to stderr, first line after `gateway: `, and exit."""
    first, *rest = lines
    typer.echo("\n".join([f"gateway: {first}", *rest]), err=True)
    raise typer.Exit(code)
