"""The command line without a process of its own: the same functions, a tenth of the time."""

from typing import NamedTuple

from typer.testing import CliRunner

from gateway.cli import app


class Done(NamedTuple):
    """What a command came to."""

    returncode: int
    stdout: str
    stderr: str


def gateway(*words: object, stdin: str | bytes = "", env: dict[str, str] | None = None) -> Done:
    """Run one command. An exception that is not an exit is raised."""
    result = CliRunner().invoke(app, [str(word) for word in words], input=stdin, env=env)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Done(result.exit_code, result.stdout, result.stderr)
