"""The fields this hop adds to what it sends upstream: Via, and who called (Forwarded, X-Forwarded-*)."""

import re

from gateway.core import forwarding
from gateway.core.framing import Fields
from gateway.record import CallRecord
from gateway.settings import Settings

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


class Hop:
    """Formats the lines; everything that is the same for all calls is formatted once.

    rewritten  lower-case names of the forwarding fields that it writes, and so joins with what came
    """

    def __init__(self, settings: Settings) -> None:
        name = settings.name
        self._forwarded = settings.headers.forwarded in ("forwarded", "both")
        self._x_forwarded = settings.headers.forwarded in ("x-forwarded", "both")
        self.rewritten = frozenset(
            ({b"forwarded"} if self._forwarded else set())
            | ({b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"} if self._x_forwarded else set())
        )
        self._via = {f"HTTP/{number}": f"Via: {number} {name}\r\n".encode() for number in ("1.1", "1.0")}
        self._by = f";by=_{name}"

    def lines(self, record: CallRecord, believed: Fields = ()) -> bytes:
        """Complete field lines, the same for all calls that are alike.

        believed  the caller's fields if it is a trusted proxy
        """
        lines = self._via[record.protocol]
        if self._forwarded:
            lines += self._forwarded_line(record, believed)
        if self._x_forwarded:
            lines += _x_forwarded_lines(record, believed)
        return lines

    def _forwarded_line(self, record: CallRecord, believed: Fields) -> bytes:
        host = f";host={_value(record.http_host)}" if record.http_host else ""
        ours = f"for={_node(record.peer_ip)};proto={record.scheme}{host}{self._by}".encode("latin-1", "replace")
        given = forwarding.said(believed, b"forwarded")
        return b"Forwarded: %b\r\n" % (forwarding.forwarded(given, ours) if given else ours)


def _x_forwarded_lines(record: CallRecord, believed: Fields) -> bytes:
    peer = record.peer_ip.encode() or b"unknown"
    scheme = record.scheme.encode()
    host = record.http_host.encode("latin-1", "replace")
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
    return text if _TOKEN.fullmatch(text) else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
