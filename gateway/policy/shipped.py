"""Files that come with the gateway: beside the package in a source tree, inside it when installed."""

from pathlib import Path

import gateway

_PACKAGE = Path(gateway.__file__).parent


def shipped(name: str) -> Path:
    """The path of a shipped file or directory, such as `policies/default.yaml`. Raises FileNotFoundError."""
    for root in (_PACKAGE / "shipped", _PACKAGE.parent):
        if (root / name).exists():
            return root / name
    raise FileNotFoundError(f"{name} is missing from this installation of the gateway")
