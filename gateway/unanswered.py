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
    return next((words for kind, words in _WORDS if isinstance(error, kind)), type(error).__name__)
