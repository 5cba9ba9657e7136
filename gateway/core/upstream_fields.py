"""What the upstream is sent of a request's head: the caller's fields but for what was said to this hop, and this hop's.

Used to send calls, and to tell operators what would be sent.
"""

from typing import Any, Protocol

from gateway.core.access.credentials import Credential
from gateway.core.http.fields import (
    ADDRESS_FIELDS,
    HOP_BY_HOP,
    LOOKALIKES,
    OURS_UPSTREAM,
    PROXY_FIELDS,
    connection_named,
    keep,
    text,
    tokens,
)
from gateway.core.http.framing import Fields
from gateway.core.http.hop import Came, Hop
from gateway.core.keys import KeyFrom
from gateway.core.policy import Route

_DROP_FROM_TRUSTED = HOP_BY_HOP | OURS_UPSTREAM | LOOKALIKES
_DROP = _DROP_FROM_TRUSTED | ADDRESS_FIELDS | PROXY_FIELDS


class Head(Protocol):
    """A request's head, as far as it is sent on.

    fields   as they came; `headers` has the same by case-insensitive name, as `core.routing.resolve.Asking`
    upgrade  the protocol that it asks to change to, "" = none
    chunked  whether the body ends by itself
    """

    @property
    def fields(self) -> Fields: ...

    @property
    def headers(self) -> Any: ...

    @property
    def upgrade(self) -> str: ...

    @property
    def chunked(self) -> bool: ...


def upstream_fields(
    route: Route, hop: Hop, came: Came, head: Head, *, trusted: bool, credential: Credential | None
) -> bytes:
    """The field lines, each ended by CRLF, but for those that differ from attempt to attempt (request id and trace).

    trusted     whether the peer is a proxy that is believed
    credential  what the upstream is shown for this caller; the caller's own credentials do not go along with it
    """
    headers, upstream = head.headers, route.upstream
    drop = _DROP_FROM_TRUSTED | hop.rewritten if trusted else _DROP
    if route.credential_fields:
        drop = drop | route.credential_fields
    added = b""
    if credential is not None:
        drop, added = drop | credential.replaces, credential.line()
    if "Connection" in headers:
        keys = {part.source_name.encode() for part in route.keys if part.source in (KeyFrom.HEADER, KeyFrom.API_KEY)}
        drop = drop | connection_named(",".join(headers.getall("Connection")), keys)
        if head.upgrade:
            added += b"Connection: Upgrade\r\nUpgrade: %b\r\n" % head.upgrade.encode("latin-1", "replace")
        elif "trailers" in tokens(",".join(headers.getall("TE", ()))):
            added += b"Connection: TE\r\nTE: trailers\r\n"
    if head.chunked:
        added += b"Transfer-Encoding: chunked\r\n"
    elif "Trailer" in headers:
        drop = drop | {b"trailer"}
    if upstream.rewrite_host or not came.http_host:
        host = upstream.authority.encode("ascii")
    else:
        host = came.http_host.encode("latin-1")
    added += hop.lines(came, head.fields if trusted else ())
    return b"Host: %b\r\n" % host + text(keep(head.fields, drop)) + added  # RFC 9110 §7.2: Host first
