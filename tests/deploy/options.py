"""What a `gateway ...` command line in a deployment file says, as the command line itself reads it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.docs.spoken_of import gateway


def said(words: Sequence[str], etc: Path) -> dict[str, Any]:
    """The options of `words` ("run", "-c", ...), with /etc/gateway at `etc`. Raises UsageError for one that is not there."""
    return gateway([word.replace("/etc/gateway", str(etc)) for word in words])


def settings_given(words: Sequence[str], etc: Path) -> dict[str, object]:
    """Of a `run`, what stands above the settings file."""
    options = said(words, etc)
    return {name: options[name] for name in ("listen", "admin", "workers") if options[name]}
