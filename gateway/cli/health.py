"""`gateway healthcheck`: one question to the admin listener, for container health checks (no curl in slim images)."""

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.failing import FAILED, UNREACHABLE, fail

PATHS = {"ready": "/readyz", "live": "/livez"}


def healthcheck(
    config: Annotated[
        Path | None, typer.Option("-c", "--config", metavar="FILE", help="Settings; their `admin` address is asked.")
    ] = None,
    admin: Annotated[str, typer.Option(metavar="HOST:PORT", help="Ask this address instead.")] = "",
    live: Annotated[bool, typer.Option("--live", help="Ask whether it lives, not whether it is ready.")] = False,
    timeout: Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="How long to wait for the answer.")] = 3.0,
) -> None:
    """Ask a running gateway how it is. Exit code 0: fine; 1: it says no; 3: it does not answer."""
    from http.client import HTTPException

    host, port = _address(config, admin)
    try:
        status, body = _ask(host, port, PATHS["live" if live else "ready"], timeout)
    except (OSError, HTTPException) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        fail(UNREACHABLE, f"no answer from the admin listener at {host}:{port}: {reason}")
    if status != 200:
        fail(FAILED, f"the gateway at {host}:{port} answers {status}: {body}")
    typer.echo(body)


def _address(config: Path | None, admin: str) -> tuple[str, int]:
    from gateway.cli.loading import read_settings

    settings = read_settings(config, None, {"admin": admin} if admin else {})
    if settings.admin is None:
        fail(FAILED, "there is no admin listener: the settings say `admin: off`")
    return settings.admin.host.replace("0.0.0.0", "127.0.0.1"), settings.admin.port  # noqa: S104


def _ask(host: str, port: int, path: str, timeout_s: float) -> tuple[int, str]:
    from http.client import HTTPConnection

    connection = HTTPConnection(host, port, timeout=timeout_s)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read(4_096).decode("utf-8", "replace").strip()
    finally:
        connection.close()
