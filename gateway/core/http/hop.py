"""The fields this hop adds to what it sends upstream: Via, and who called (Forwarded, X-Forwarded-*)."""

import re
from typing import Protocol

from gateway.core.http import forwarding
from gateway.core.http.framing import Fields

TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110 §5.6.2


class Came(Protocol):
    """How a call came here, as `gateway.record.CallRecord` has it.

    peer_ip    of the socket's other end; "" = it has no address
    http_host  the Host field's value, "" = there is none
    protocol   HTTP/1.1 or HTTP/1.0
    """

    @property
    def peer_ip(self) -> str: ...

    @property
    def scheme(self) -> str: ...

    @property
    def http_host(self) -> str: ...

    @property
    def protocol(self) -> str: ...


class Hop:
    """Formats the lines; everything that is the same for all calls is formatted once.

    name       of this gateway
    written    forwarded, x-forwarded, both or off
    rewritten  lower-case names of the forwarding fields that it writes, and so joins with what came
    """

    def __init__(self, name: str, written: str) -> None:
        self._forwarded = written in ("forwarded", "both")
        self._x_forwarded = written in ("x-forwarded", "both")
        self.rewritten = frozenset(
            ({b"forwarded"} if self._forwarded else set())
            | ({b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"} if self._x_forwarded else set())
        )
        self._via = {f"HTTP/{number}": f"Via: {number} {name}\r\n".encode() for number in ("1.1", "1.0")}
        self._by = f";by=_{name}"

    def lines(self, came: Came, believed: Fields) -> bytes:
        """Complete field lines, the same for all calls that are alike.

        believed  the caller's fields if it is a trusted proxy
        """
        lines = self._via[came.protocol]
        if self._forwarded:
            lines += self._forwarded_line(came, believed)
        if self._x_forwarded:
            lines += _x_forwarded_lines(came, believed)
        return lines

    def _forwarded_line(self, came: Came, believed: Fields) -> bytes:
        host = f";host={_value(came.http_host)}" if came.http_host else ""
        ours = f"for={_node(came.peer_ip)};proto={came.scheme}{host}{self._by}".encode("latin-1", "replace")
        given = forwarding.said(believed, b"forwarded")
        return b"Forwarded: %b\r\n" % (forwarding.forwarded(given, ours) if given else ours)


def _x_forwarded_lines(came: Came, believed: Fields) -> bytes:
    peer = came.peer_ip.encode() or b"unknown"
    scheme = came.scheme.encode()
    host = came.http_host.encode("latin-1", "replace")
    if believed:
        peer = forwarding.forwarded_for(forwarding.said(believed, b"x-forwarded-for"), peer)
        scheme = forwarding.nearest(forwarding.said(believed, b"x-forwarded-proto"), scheme)
        host = forwarding.nearest(forwarding.said(believed, b"x-forwarded-host"), host)
    lines = b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\n" % (peer, scheme)
    return lines + b"X-Forwarded-Host: %b\r\n" % host if host else lines


def _node(address: str) -> str:
    """RFC 7239 §6: IPv6 in brackets and quotes, no address (a unix socket) as `unknown`."""
    if not address:
        return "unknown"
    return f'"[{address}]"' if ":" in address else address


def _value(text: str) -> str:
    return text if TOKEN.fullmatch(text) else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
