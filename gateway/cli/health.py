"""`gateway healthcheck`: one question to the admin listener, for container health checks (no curl in slim images)."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.failing import FAILED, UNREACHABLE, fail

if TYPE_CHECKING:
    from gateway.settings import Listen

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

    from gateway.cli.loading import read_settings

    settings = read_settings(config, None, {"admin": admin} if admin else {})
    if settings.admin is None:
        fail(FAILED, "there is no admin listener: the settings say `admin: off`")
    path = PATHS["live" if live else "ready"]
    try:
        status, body = ask(settings.admin, path, settings.admin_token, timeout)
    except (OSError, HTTPException) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        fail(UNREACHABLE, f"no answer from the admin listener at {settings.admin}: {reason}")
    if status != 200:
        fail(FAILED, f"the gateway at {settings.admin} answers {status}: {body}")
    typer.echo(body)


def ask(
    admin: "Listen", path: str, token: str | None, timeout_s: float, method: str = "GET", most_bytes: int = 4_096
) -> tuple[int, str]:
    """Status and start of the body of a request to an admin listener of this host. Raises OSError, HTTPException."""
    import ssl
    from http.client import HTTPConnection, HTTPSConnection

    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(admin.host, admin.host)  # noqa: S104 - asked for, not bound
    if admin.tls:  # its own listener, reached by address: there is no name to check
        context = ssl._create_unverified_context()  # noqa: S323
        connection: HTTPConnection = HTTPSConnection(host, admin.port, timeout=timeout_s, context=context)
    else:
        connection = HTTPConnection(host, admin.port, timeout=timeout_s)
    try:
        connection.request(method, path, headers={"Authorization": f"Bearer {token}"} if token else {})
        answer = connection.getresponse()
        return answer.status, answer.read(most_bytes).decode("utf-8", "replace").strip()
    finally:
        connection.close()
