"""One try: a signed POST to a receiver. No redirect is followed, no proxy used, no cookie kept; of the answer only the
head is looked at.

Where a name leads is looked at when the socket is made, for the address it is made for: neither a name that changes
its mind between check and use nor an address written as a number gets around it.
"""

import errno
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from time import monotonic, time
from typing import Any

import aiohttp
from aiohttp import abc

from gateway import __version__
from gateway.certificate_files import begin_with, trusting
from gateway.core.public_address import may_be_reached
from gateway.core.units import SECOND_US
from gateway.core.webhooks.receivers import Receiver
from gateway.core.webhooks.redelivery import Tried
from gateway.core.webhooks.signatures import sign
from gateway.unanswered import why_no_tls

AGENT = f"ratelimit-gateway/{__version__}"
NOT_ALLOWED = "the address is not public"
_WORDS: tuple[tuple[type[Exception], str], ...] = (
    (TimeoutError, "timeout"),
    (aiohttp.ClientConnectorDNSError, "dns"),
    (aiohttp.ClientConnectorError, "refused"),
    (aiohttp.ServerDisconnectedError, "closed"),
    (aiohttp.ClientOSError, "reset"),
    (aiohttp.InvalidURL, "bad_url"),
    (aiohttp.ClientPayloadError, "malformed"),
    (aiohttp.ClientResponseError, "malformed"),
)


class Post:
    """The way to one receiver. Needs the running loop.

    resolver  who knows addresses; None = the system
    """

    def __init__(self, receiver: Receiver, resolver: abc.AbstractResolver | None = None) -> None:
        """Raises OSError for an unusable `ca_file`."""
        self._receiver = receiver
        self._tls = _shared(receiver.ca_file) if receiver.url.startswith("https:") else True
        connector = aiohttp.TCPConnector(
            limit=receiver.concurrency,
            force_close=True,  # a kept socket may have an answer in it that nobody asked for
            socket_factory=partial(_socket, receiver),
            resolver=resolver,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=receiver.timeout_us / 1e6),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": AGENT, "Accept-Encoding": "identity"},
            skip_auto_headers=("Content-Type",),
            auto_decompress=False,
        )

    async def deliver(self, id_: str, body: bytes, fields: Mapping[str, str]) -> Tried:
        """Try once. Raises nothing.

        fields  further header fields
        """
        began_s = monotonic()
        said = {**fields, **signature_fields(self._receiver, id_, body)}
        post = self._session.post(self._receiver.url, data=body, headers=said, allow_redirects=False, ssl=self._tls)
        try:
            async with post as answer:
                status, asked = answer.status, _seconds(answer.headers.get("Retry-After", ""))
                answer.close()
        except Exception as error:
            return Tried(error=_in_a_word(error), took_us=_since_us(began_s))
        return Tried(status, asked_us=asked * SECOND_US, took_us=_since_us(began_s))

    def read_certificates(self) -> Sequence[Callable[[], None]]:
        """As `reload.certificates.Trusting` has it."""
        names_one = self._receiver.ca_file and self._tls is not True
        return [partial(self._use, trusting(self._receiver.ca_file))] if names_one else []

    def _use(self, tls: ssl.SSLContext) -> None:
        self._tls = tls

    async def close(self) -> None:
        """Tries under way end without an answer. Idempotent."""
        await self._session.close()


def signature_fields(receiver: Receiver, id_: str, body: bytes) -> dict[str, str]:
    """`webhook-id`, `webhook-timestamp` and, for a receiver with keys, `webhook-signature`."""
    now_s = int(time())
    fields = {"webhook-id": id_, "webhook-timestamp": str(now_s)}
    if receiver.keys:
        fields["webhook-signature"] = sign(receiver.keys, id_, now_s, body)
    return fields


_shared = cache(partial(begin_with, trusting))
"""One for all receivers to begin with: it holds every certificate of the system."""


def _socket(receiver: Receiver, info: tuple[Any, ...]) -> socket.socket:
    """For this address, if the receiver may be there."""
    family, kind, protocol, _, address = info
    if not receiver.anywhere and not may_be_reached(str(address[0]), receiver.allowed):
        raise PermissionError(errno.EACCES, NOT_ALLOWED)
    made = socket.socket(family, kind, protocol)
    made.setblocking(False)
    return made


def _seconds(text: str) -> int:
    """Of Retry-After; a date is not looked at."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 8 else 0


def _since_us(began_s: float) -> int:
    return int((monotonic() - began_s) * 1e6)


def _in_a_word(error: Exception) -> str:
    """What went wrong, with nothing of the receiver's in it; of TLS with what OpenSSL says to it."""
    if NOT_ALLOWED in str(error):
        return "address_not_allowed"
    if isinstance(error, aiohttp.ClientSSLError):
        return f"tls: {why_no_tls(error)}"
    return next((word for kind, word in _WORDS if isinstance(error, kind)), "failed")
