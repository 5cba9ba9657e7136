"""Certificates of our own listeners, and new ones while they listen."""

import ssl
from collections.abc import Mapping

from gateway.certificate_files import begin_with, ends_s, show
from gateway.settings import Tls


class Certificates:
    """TLS contexts of one worker's listeners. `reload` changes what new handshakes show; sockets live on.

    A listener's context cannot be replaced while it listens, and loading into it again would keep a certificate of
    another key type beside the new one. So each handshake picks the newest context in the callback that TLS makes
    for the server name (it also comes when the caller sends no name).
    """

    def __init__(self) -> None:
        self._newest: dict[Tls, ssl.SSLContext] = {}
        self._used_by: dict[str, Tls] = {}
        self.ends_s: Mapping[str, int] = {}
        """When the certificate of each listener ends, seconds since 1970."""

    def context(self, listener: str, tls: Tls | None) -> ssl.SSLContext | None:
        """What a listener needs; None without TLS. Raises OSError for unusable files."""
        if tls is None:
            return None
        first = self._newest[tls] = begin_with(server_tls, tls)
        self._used_by[listener] = tls
        self._note_ends()

        def choose(handshake: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _first: ssl.SSLContext) -> None:
            handshake.context = self._newest[tls]

        first.sni_callback = choose
        return first

    def reload(self) -> int:
        """Read all files again; returns how many certificates there are.

        Raises OSError when any cannot be used: then all stay as they are.
        """
        newest = {tls: server_tls(tls) for tls in self._newest}
        self._newest = newest
        self._note_ends()
        return len(newest)

    def _note_ends(self) -> None:
        ends = {listener: ends_s(tls.certificate) for listener, tls in self._used_by.items()}
        self.ends_s = {listener: end for listener, end in ends.items() if end is not None}


def server_tls(tls: Tls) -> ssl.SSLContext:
    """TLS 1.2 or newer with the configured certificate. Raises OSError, which names both files, when they cannot be
    used."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    show(context, str(tls.certificate), str(tls.key))
    return context
