"""`gateway reload`: tell a running gateway to read its files again, and show what came of it."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from gateway.cli.failing import FAILED, UNREACHABLE, fail
from gateway.cli.options import Config

WAIT_S = 70.0


def reload(
    config: Config = None,
    admin: Annotated[str, typer.Option(metavar="HOST:PORT", help="Ask this address instead of the settings'.")] = "",
    workers: Annotated[bool, typer.Option("--workers", help="Then replace every worker by a new one.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The whole answer.")] = False,
) -> None:
    """Read policies and settings again. Exit code 0: in force, or nothing to do; 1: rejected; 3: no answer."""
    import json

    from gateway.cli.loading import read_settings

    settings = read_settings(config, None, {"admin": admin} if admin else {})
    if settings.admin is None:
        fail(FAILED, "there is no admin listener: the settings say `admin: off`")
    status, document = _ask(settings, "/-/reload?workers" if workers else "/-/reload")
    for line in (json.dumps(document, indent=2),) if as_json else lines(document):
        typer.echo(line, err=status != 200 and not as_json)
    if status != 200:
        raise typer.Exit(FAILED)


def _ask(settings: Any, path: str) -> tuple[int, dict[str, Any]]:
    import json
    from http.client import HTTPException

    from gateway.cli.health import ask

    try:
        status, body = ask(settings.admin, path, settings.admin_token, WAIT_S, method="POST", most_bytes=4 << 20)
        return status, dict(json.loads(body))
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        fail(UNREACHABLE, f"no answer from the admin listener at {settings.admin}: {reason}")


def lines(document: Mapping[str, Any]) -> Iterator[str]:
    """The answer for people."""
    if "result" not in document:  # a problem document
        yield f"gateway: {document.get('detail', 'the gateway does not know this request')}"
        return
    detail = f" ({document['detail']})" if document.get("detail") else ""
    yield f"{document['result']}: policy {document['version']} is in force{detail}"
    for error in document.get("errors", ()):
        place = f"{error['file']}:{error['line']}:{error['col']}" if error["line"] else error["file"]
        hint = f" ({error['hint']})" if error["hint"] else ""
        yield f"{place}: {error['message']}{hint} [{error['code']}]"
    for one in document.get("diff", ()):
        effect = f", {one['effect']}" if one.get("effect") else ""
        yield f"  {one['what']} {one['section']} {one['name']}{effect}"
    for name, keys in document.get("settings", {}).items():
        yield f"  {name.replace('_', ' ')}: {', '.join(keys)}"
    if "replaced_workers" in document:
        yield f"  {document['replaced_workers']} workers are being replaced"
