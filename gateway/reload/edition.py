"""Editions of what is in force: what is handed from the worker that has read the files to all others."""

import os
import pickle
from pathlib import Path
from typing import NamedTuple

from gateway.core.policy import PolicySet
from gateway.own_files import open_own, read_own
from gateway.settings import Settings


class Edition(NamedTuple):
    """What workers are to put in place. Each makes of the settings, as they were read, what it can: they may have begun
    with different ones (`policy.changes`)."""

    fresh: Settings
    policies: PolicySet


def write_edition(path: Path, edition: Edition) -> None:
    """For this user only; complete before it has its name, and gone if it cannot be. Raises OSError."""
    hidden = path.with_name(f".{path.name}")
    try:
        with os.fdopen(open_own(hidden, os.O_CREAT | os.O_EXCL | os.O_WRONLY), "wb") as file:
            pickle.dump(tuple(edition), file, pickle.HIGHEST_PROTOCOL)
        hidden.rename(path)
    except BaseException:
        hidden.unlink(missing_ok=True)
        raise


def read_edition(path: Path) -> Edition:
    """What was written there. Raises OSError."""
    return Edition(*pickle.loads(read_own(path)))  # noqa: S301 - our own
