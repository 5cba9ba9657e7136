"""What entries refer to: secrets, and files beside the policy file."""

from collections.abc import Mapping

from gateway.policy.beside import beside
from gateway.policy.files import read_text
from gateway.policy.findings import Findings
from gateway.policy.gather import Draft
from gateway.policy.nodes import Node
from gateway.policy.secret import dereference, is_inline

MOST_TOLD_BYTES = 1024
"""A bound above this is only there to have one: messages do not name it."""


def read_secret(node: Node, name: str, fit: range, env: Mapping[str, str], findings: Findings) -> bytes:
    """What the reference leads to, b"" when it leads nowhere or stands for itself in a file, which is reported.

    name  of the secret in messages; fit: how many bytes it may have
    """
    text = str(node.value)
    if is_inline(node, bool, f"the {name}", findings):
        return b""
    found = (dereference(text, node, env, findings) or "").encode()
    if found and len(found) not in fit:
        most = f" and at most {fit.stop - 1}" if fit.stop <= MOST_TOLD_BYTES else ""
        findings.error(node.where, "weak-secret", f"the {name} must have at least {fit.start} bytes{most}")
    return found


def read_beside(node: Node, path: str, draft: Draft) -> str | None:
    """The text of a file that belongs to the policies, and to their version."""
    text = read_text(beside(node, path), draft.findings)
    if text is not None:
        draft.content.update(text.encode())
    return text
