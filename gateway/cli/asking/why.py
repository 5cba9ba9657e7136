"""`--reason`: why an operator changes something, for the record that the gateway keeps."""

from typing import Annotated
from urllib.parse import quote

import typer

Reason = Annotated[str, typer.Option(metavar="TEXT", help="Why, for the record.")]


def said(reason: str) -> dict[str, str]:
    """As a member of an order; none when nothing was said."""
    return {"reason": reason} if reason else {}


def asked(reason: str) -> str:
    """Behind the path of an operation without a body."""
    return f"?reason={quote(reason, safe='', errors='replace')}" if reason else ""
