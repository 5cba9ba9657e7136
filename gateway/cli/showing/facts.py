"""Documents of the admin API for people: a line a member. What a document leaves open is left out."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

import typer

from gateway.cli.showing.text import plain

Document = dict[str, Any]
WIDTH = 18
"""Of the column of names, unless one is longer."""
ANONYMOUS = "~"


def print_found(found: Any, as_json: bool, lines: Iterable[str] | None = None) -> None:
    """As JSON, as these lines, or a line a member."""
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    for line in facts(found) if lines is None else lines:
        typer.echo(line)


def facts(document: Document, margin: str = "") -> Iterator[str]:
    """One line a member; members of members further in."""
    width = max([WIDTH - len(margin), *map(len, document)])
    for name, value in document.items():
        if value is None or value in ({}, []):
            continue
        if isinstance(value, dict) and not _flat(value):
            yield f"{margin}{plain(name)}"
            yield from facts(value, margin + "  ")
        elif isinstance(value, list) and isinstance(value[0], dict):
            yield f"{margin}{plain(name)}"
            for one in value:
                yield from _item(one, margin + "  ")
        else:
            yield f"{margin}{plain(name):<{width}} {plain(_text(value))}"


def keyed(document: Document) -> Document:
    """A document about one caller, with `~` for the part of its key that it does not have."""
    key = document.get("key")
    if not isinstance(key, dict):
        return document
    return {**document, "key": {name: ANONYMOUS if value is None else value for name, value in key.items()}}


def named(documents: list[Document], name: str) -> Document | None:
    """The document with this name; None if there is none."""
    return next((one for one in documents if one["name"] == name), None)


def _item(document: Document, margin: str) -> Iterator[str]:
    """One of several, which a dash tells from the next."""
    first = True
    for line in facts(document):
        yield f"{margin}{'- ' if first else '  '}{line}"
        first = False


def _flat(document: Document) -> bool:
    """Whether it is a few numbers, which are told in one line."""
    return bool(document) and all(type(value) in (int, float) for value in document.values())


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return ", ".join(f"{name} {number:,}" for name, number in value.items())
    if isinstance(value, list):
        return ", ".join(one if isinstance(one, str) else json.dumps(one) for one in value)
    return json.dumps(value)
