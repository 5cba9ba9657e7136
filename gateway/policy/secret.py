"""Secrets by reference: `env:NAME` or `file:/path` stand in the settings, what they lead to is never shown."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from gateway.policy.beside import beside
from gateway.policy.findings import MISSING_SECRET, Findings
from gateway.policy.nodes import Node

MAX_SECRET_BYTES = 64 * 1024
is_reference = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*|file:.+").fullmatch


def is_inline(node: Node | None, holds_secret: Callable[[str], object], what: str, findings: Findings) -> bool:
    """Report a secret that stands in a file, which is copied around and put under version control.

    holds_secret  whether a text that is no reference holds one. From an option or a variable it may.
    """
    if node is None or not node.where.line or not isinstance(node.value, str):
        return False
    if is_reference(node.value) or not holds_secret(node.value):
        return False
    findings.error(
        node.where, "inline-secret", f"{what} must not be written in the file", "refer to it: env:NAME or file:/path"
    )
    return True


def dereference(text: str, node: Node, env: Mapping[str, str], findings: Findings) -> str | None:
    """What a reference leads to, any other text as it is; None when it leads nowhere, which is reported."""
    if not is_reference(text):
        return text
    kind, _, name = text.partition(":")
    found = env.get(name) if kind == "env" else _read(beside(node, name), node, findings)
    if kind == "env" and not (found or "").strip():
        why = "is not set" if found is None else "is empty"
        findings.error(node.where, MISSING_SECRET, f"environment variable {name} {why}")
    return found.strip() or None if found else None


def _read(path: Path, node: Node, findings: Findings) -> str | None:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_SECRET_BYTES + 1).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        findings.error(node.where, MISSING_SECRET, f"the file {path} cannot be read: {reason}")
        return None
    if len(content.encode()) > MAX_SECRET_BYTES:
        findings.error(node.where, MISSING_SECRET, f"the file {path} is larger than {MAX_SECRET_BYTES // 1024} KiB")
        return None
    if not content.strip():
        findings.error(node.where, MISSING_SECRET, f"the file {path} is empty")
    return content
