"""SIGHUP: the files with certificates are read again. Sockets that are open live on."""

from collections.abc import Callable, Sequence
from typing import Protocol

from gateway.certificate_files import begun
from gateway.listener.tls import Certificates
from gateway.observe.reports.notices import notice


class Trusting(Protocol):
    """Who shows certificates to others, or checks theirs by authorities that a file names."""

    def read_certificates(self) -> Sequence[Callable[[], None]]:
        """Read each file that the configuration names: what has to be called for that to be used. Raises OSError."""


def tell_unusable() -> None:
    """A worker has begun: of files that it could not read, see `certificate_files.begin_with`."""
    for reason in begun():
        notice("certificates.rejected", "error", {"reason": reason})


def reload_certificates(ours: Certificates, others: Sequence[Trusting]) -> None:
    """Handshakes from now on go by what the files say now; while they cannot be used, by what they said before.

    One file that cannot be used is enough for that: what belongs together stays together.
    """
    try:
        theirs = [use for one in others for use in one.read_certificates()]
        count = ours.reload() + len(theirs)
    except OSError as error:
        notice("certificates.rejected", "error", {"reason": error.strerror or str(error)})
    else:
        for use in theirs:
            use()
        if count:
            notice("certificates.loaded", "info", {"count": count})
