"""SIGHUP: the files with certificates are read again. Sockets that are open live on."""

from gateway.listener.tls import Certificates
from gateway.observe.reports.notices import notice
from gateway.upstream.directory import Upstreams


def reload_certificates(ours: Certificates, upstreams: Upstreams | None) -> None:
    """Handshakes from now on go by what the files say now; while they cannot be used, by what they said before.

    One file that cannot be used is enough for that: what belongs together stays together.

    upstreams  None = there are none yet
    """
    try:
        theirs = upstreams.read_certificates() if upstreams is not None else {}
        count = ours.reload() + len(theirs)
    except OSError as error:
        notice("certificates.rejected", "error", {"reason": error.strerror or str(error)})
    else:
        for pool, tls in theirs.items():
            pool.use(tls)
        if count:
            notice("certificates.loaded", "info", {"count": count})
