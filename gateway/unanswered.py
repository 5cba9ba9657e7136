"""Why a server that the gateway itself asked over HTTP gave no answer, in words for people.

Names of classes of a library say little to operators; what the library says may repeat what was sent or answered.
"""

import aiohttp

_WORDS: tuple[tuple[type[Exception], str], ...] = (
    (aiohttp.ClientConnectorDNSError, "its name cannot be resolved"),
    (aiohttp.ClientConnectorCertificateError, "its certificate cannot be trusted"),
    (aiohttp.ClientSSLError, "no TLS handshake"),
    (aiohttp.ClientConnectorError, "no connection"),
    (aiohttp.ServerDisconnectedError, "it closed the connection"),
    (aiohttp.ClientOSError, "the connection was cut"),
    (aiohttp.ClientPayloadError, "its answer ended too early"),
    (aiohttp.ClientResponseError, "its answer is not HTTP"),
)


def why_unanswered(error: Exception) -> str:
    """In a few words, with nothing in them of what was sent or answered."""
    words = next((words for kind, words in _WORDS if isinstance(error, kind)), type(error).__name__)
    return f"{words}: {why_no_tls(error)}" if isinstance(error, aiohttp.ClientSSLError) else words


def why_no_tls(error: aiohttp.ClientSSLError) -> str:
    """What is wrong, in OpenSSL's words (`certificate has expired`), naming no more than who was asked."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return str(getattr(error.certificate_error, "verify_message", error.certificate_error))
    reason = getattr(error.os_error, "reason", None)
    return str(reason or "the handshake failed").replace("_", " ").lower()
