"""Certificates of ours as files: when they end."""

from contextlib import suppress
from pathlib import Path

from gateway.core.certificate import chain_ends_s


def ends_s(certificate: Path | str) -> int | None:
    """When the chain in this file ends, seconds since 1970; None without a file (""), or if it does not say."""
    if certificate:
        with suppress(OSError, ValueError):
            return chain_ends_s(Path(certificate).read_bytes())
    return None
