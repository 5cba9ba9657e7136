"""`gateway diff`: what a candidate policy changes, and for whom it gets tighter, before anybody runs it."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.cli.asking.asks import asks
from gateway.cli.asking.client import AdminClient
from gateway.cli.command.failing import FAILED, OK, fail
from gateway.cli.command.options import Config, EnvFile, Json, path
from gateway.cli.policies.changed_fields import told
from gateway.cli.showing.findings import said
from gateway.cli.showing.text import counted

Document = dict[str, Any]


@asks
def diff(
    client: AdminClient,
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="POLICIES", parser=path, help="NEW, or OLD and NEW: files or directories."),
    ],
    running: Annotated[bool, typer.Option("--running", help="OLD is what the running gateway has loaded.")] = False,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit with 1 when there are differences.")] = False,
    config: Config = None,
    env_file: EnvFile = None,
    as_json: Json = False,
) -> None:
    """Compare two policy sets: what came, went and changed, and which limits get tighter or looser.

    Without OLD: the policies that the settings name.
    """
    if len(paths) > (1 if running else 2):
        raise typer.BadParameter("expected NEW alone" if running else "expected OLD and NEW, or NEW alone")
    if client.reach.chosen and not running:
        raise typer.BadParameter("--admin, --ca and --insecure are for what is running: add --running")
    differences = _running(client, paths[0]) if running else _offline(paths, config, env_file)
    if as_json:
        typer.echo(json.dumps({"different": bool(differences), "differences": differences}, indent=2))
    else:
        for line in lines(differences):
            typer.echo(line)
    raise typer.Exit(FAILED if exit_code and differences else OK)


def _offline(paths: Sequence[Path], config: Path | None, env_file: Path | None) -> list[Document]:
    from gateway.cli.files.loading import read_chosen
    from gateway.core.preview.policy_diff import diff as compare

    old = read_chosen(config, env_file, paths[0] if len(paths) > 1 else None)[1]
    new = read_chosen(config, env_file, paths[-1])[1]
    return [one.as_dict() for one in compare(old, new)]


def _running(client: AdminClient, path: Path) -> list[Document]:
    from gateway.cli.files.loading import read_plain

    answer = client.post_yaml("/-/policy/check", read_plain(path))
    if not answer["valid"]:
        fail(FAILED, "the running gateway does not accept it", *map(said, answer["errors"]))
    return [_without_place(one) for one in answer["diff"]]


def _without_place(one: Document) -> Document:
    """The candidate was sent as one document: the gateway knows places only of what it had and would have no more."""
    return {name: value for name, value in one.items() if name != "source" or one["what"] == "removed"}


def lines(differences: Sequence[Document]) -> Iterator[str]:
    """For people: one line a thing, one a changed field, and a summary."""
    for one in differences:
        effect = f", {one['effect']}" if "effect" in one else ""
        source = f"  # {one['source']}" if one.get("source") else ""
        yield f"{' '.join(filter(None, (one['section'], one['name'])))}: {one['what']}{effect}{source}"
        for field in one.get("fields", ()):
            yield from (f"    {line}" for line in told(one["section"], **field))
    yield _summary(differences)


def _summary(differences: Sequence[Document]) -> str:
    if not differences:
        return "no difference"
    effects = [one.get("effect") for one in differences if one["section"] == "limits"]
    found = [f"{effects.count(word)} {word}" for word in ("tighter", "looser", "mixed") if word in effects]
    what = counted(len(differences), "difference")
    return f"{what}; limits: {', '.join(found)}" if found else what
