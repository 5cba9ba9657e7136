"""The fields this hop adds to what it sends upstream: Via, who called (Forwarded, X-Forwarded-*), ids, trace."""

import re

from gateway.record import CallRecord
from gateway.settings import Settings

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


class Hop:
    """Formats the lines; everything that is the same for all calls is formatted once."""

    def __init__(self, settings: Settings) -> None:
        name = settings.name
        self._forwarded = settings.headers.forwarded in ("forwarded", "both")
        self._x_forwarded = settings.headers.forwarded in ("x-forwarded", "both")
        self._via = {"HTTP/1.1": f"Via: 1.1 {name}\r\n", "HTTP/1.0": f"Via: 1.0 {name}\r\n"}
        self._by = f";by=_{name}"

    def lines(self, record: CallRecord, traceparent: str) -> bytes:
        """Complete field lines for one attempt."""
        text = f"{self._via[record.protocol]}X-Request-Id: {record.request_id}\r\ntraceparent: {traceparent}\r\n"
        if self._forwarded:
            host = f";host={_value(record.http_host)}" if record.http_host else ""
            text += f"Forwarded: for={_node(record.peer_ip)};proto={record.scheme}{host}{self._by}\r\n"
        if self._x_forwarded:
            text += (
                f"X-Forwarded-For: {record.peer_ip}\r\nX-Forwarded-Proto: {record.scheme}\r\n"
                f"X-Forwarded-Host: {record.http_host}\r\n"
            )
        return text.encode("latin-1", "replace")


def _node(address: str) -> str:
    """RFC 7239 §6: IPv6 in brackets and quotes, no address (a unix socket) as `unknown`."""
    if not address:
        return "unknown"
    return f'"[{address}]"' if ":" in address else address


def _value(text: str) -> str:
    return text if _TOKEN.fullmatch(text) else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
