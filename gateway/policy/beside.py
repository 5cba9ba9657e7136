"""Relative paths: relative to the file that says them."""

import os
from pathlib import Path

from gateway.policy.nodes import Node


def beside(node: Node, path: str) -> Path:
    """`path` as the file of `node` means it; from an option or a variable it is relative to the working directory."""
    if not node.where.line:
        return Path(path)
    joined = Path(node.where.file).parent / path
    tidy = Path(os.path.normpath(joined))  # config/../policies; not the same where config is a link
    return tidy if os.path.realpath(tidy) == os.path.realpath(joined) else joined
