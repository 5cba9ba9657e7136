"""Certificates as files: when ours end, which authorities are to be believed, what we show to others."""

import errno
import ssl
from collections.abc import Callable, Hashable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from gateway.core.certificate import chain_ends_s

Readable = TypeVar("Readable", bound=Hashable)
Context = TypeVar("Context", bound=ssl.SSLContext | None)

_usable: dict[tuple[Any, Hashable], Any] = {}
_unusable: list[str] = []


def keep(read: Callable[[Readable], Context], of: Readable) -> None:
    """Read files for workers that this process will fork, see `begin_with`. Raises OSError."""
    _usable[read, of] = read(of)


def is_kept(read: Callable[[Readable], Context], of: Readable) -> bool:
    """Whether these were read, see `keep`."""
    return (read, of) in _usable


def keep_no_others(readings: Iterable[tuple[Any, Hashable]]) -> None:
    """Forget what was kept of other files than these."""
    for reading in _usable.keys() - {*readings}:
        del _usable[reading]


def begin_with(read: Callable[[Readable], Context], of: Readable) -> Context:
    """What files say; while they cannot be used, what they said when the process that forked this one read them last.

    Without that one file would keep a worker from following one that has died, and the last of them would take all
    calls with it. Raises OSError when nothing was kept.
    """
    try:
        return read(of)
    except OSError as error:
        if (read, of) not in _usable:
            raise
        _unusable.append(error.strerror or str(error))
        kept: Context = _usable[read, of]
        return kept


def begun() -> list[str]:
    """The process has begun: from now on files that cannot be used are an error. Returns why some could not be, each
    said once."""
    reasons = [*dict.fromkeys(_unusable)]
    _unusable.clear()
    _usable.clear()
    return reasons


def ends_s(certificate: Path | str) -> int | None:
    """When the chain in this file ends, seconds since 1970; None without a file (""), or if it does not say."""
    if certificate:
        with suppress(OSError, ValueError):
            return chain_ends_s(Path(certificate).read_bytes())
    return None


def trusting(ca_file: str) -> ssl.SSLContext:
    """For sockets to servers whose certificates these authorities ("" = the system's) have signed.

    Raises OSError, which names the file, for one that cannot be used.
    """
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except OSError as error:
        raise OSError(error.errno, f"{ca_file}: {error.strerror or error}") from error


def show(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """Have sockets of this context show the certificate. Raises OSError, which names both files: OpenSSL names none.

    Nobody is asked for a password: each worker would ask for it, and at each SIGHUP.
    """
    try:
        context.load_cert_chain(certificate, key or None, no_password)
    except OSError as error:  # ssl.SSLError is one
        message = f"certificate {certificate} with key {key}: {error.strerror or error}"
        raise OSError(error.errno, message) from error


def no_password() -> str:
    """Instead of asking at the terminal, as OpenSSL does for the key of a certificate. Raises OSError."""
    raise OSError(errno.EACCES, "the key is encrypted")
