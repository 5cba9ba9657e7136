"""What is wrong with files: the offending line, and the words of a gateway that was sent or told to read them."""

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from gateway.cli.showing.text import plain

if TYPE_CHECKING:
    from gateway.policy.findings import PolicyError

_MOST_COLUMNS = 160


def excerpt(finding: "PolicyError") -> Iterator[str]:
    """The offending line with a caret below, where it is known. Long lines are cut, tabs kept in step."""
    if not finding.excerpt.strip():
        return
    col = finding.caret or finding.col
    first = max(0, col - _MOST_COLUMNS // 2) if len(finding.excerpt) > _MOST_COLUMNS else 0
    shown = "".join(letter if letter.isprintable() or letter == "\t" else "?" for letter in finding.excerpt)
    shown = shown[first : first + _MOST_COLUMNS]
    before = re.sub(r"[^\t]", " ", shown[: col - 1 - first])
    margin = f"{finding.line:>6}"
    yield f"{margin} | {shown}"
    yield f"{' ' * len(margin)} | {before}^"


def said(error: Mapping[str, Any]) -> str:
    """An error in an answer of the admin API: what is wrong, what helps, and its code."""
    hint = f" ({error['hint']})" if error["hint"] else ""
    return plain(f"{error['message']}{hint} [{error['code']}]")


def placed(error: Mapping[str, Any]) -> str:
    """The same after its place: `file:line:col`, or the file alone."""
    place = f"{error['file']}:{error['line']}:{error['col']}" if error["line"] else error["file"]
    return f"{plain(place)}: {said(error)}"
