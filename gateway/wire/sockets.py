"""What event loops do not offer of a socket: resetting it, its last words, its peer as a text, and noticing that the
other side is dead."""

import asyncio
import os
import select
import socket
import ssl
import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import Protocol

from gateway.core.http.authority import authority

KEEPALIVE_IDLE_S = 60
KEEPALIVE_PROBES = 4
_READ_BYTES = 64 * 1024
_NO_LINGER = struct.pack("ii", 1, 0)


def reset(transport: asyncio.Transport) -> None:
    """Close with RST, what was not sent yet is dropped.

    `transport.abort()` alone sends a FIN when everything was read, which looks like the regular end of a message.
    """
    _set(transport, socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    transport.abort()


def peer_of(transport: asyncio.BaseTransport) -> str:
    """Address and port of the other side; or the path of a unix socket, "" for one without a name."""
    peer = transport.get_extra_info("peername")
    if not isinstance(peer, tuple):
        return str(peer or "")
    return authority(*peer[:2])


def unread(transport: asyncio.Transport) -> Iterator[bytes]:
    """What had come before a write failed. For `connection_lost`, with an exception: the descriptor is still open then.

    Event loops drop it, but a server that answers 413 and closes its socket before it has read everything has said so
    there. At most what the kernel has buffered; nothing where it is encrypted.
    """
    sock = transport.get_extra_info("socket")
    if sock is None or transport.get_extra_info("sslcontext") is not None:
        return
    with suppress(OSError):
        while data := os.read(sock.fileno(), _READ_BYTES):
            yield data


def ended_by_peer(transport: asyncio.Transport) -> bool:
    """Whether it was the other side that ended what it sends. For `eof_received` and `connection_lost`.

    Over TLS it has to say so (RFC 8446 §6.1): the end of the socket alone may be anybody's doing (RFC 9112 §9.8).
    """
    tls: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
    if tls is None:
        return True
    try:
        return tls.read(1) == b""
    except ssl.SSLZeroReturnError:
        return True
    except (ssl.SSLError, ValueError):  # it waits for more
        return False


class Arrivals(Protocol):
    """`select.poll`, asked about one socket."""

    def poll(self, timeout_ms: float, /) -> list[tuple[int, int]]: ...


def arrivals(transport: asyncio.BaseTransport) -> Arrivals | None:
    """Whose `poll(0)` says at once whether anything has come on a socket, or its end, that the loop may not have looked
    at yet: a busy one takes a while. To be asked only while the transport is open. None where there is no such thing.
    """
    sock = transport.get_extra_info("socket")
    if sock is None or not hasattr(select, "poll"):
        return None
    asked = select.poll()
    asked.register(sock.fileno(), select.POLLIN)
    return asked


def is_broken(transport: asyncio.BaseTransport) -> bool:
    """Whether a socket was reset by its other side, or given up by the kernel. Loops hear of it when they read or
    write, and so never of one that is not read from."""
    sock = transport.get_extra_info("socket")
    if sock is None or not hasattr(select, "poll"):
        return False
    asked = select.poll()
    asked.register(sock.fileno(), 0)
    return any(found & select.POLLERR for _, found in asked.poll(0))


def probe_when_silent(transport: asyncio.Transport) -> None:
    """Let the kernel find out within minutes that a silent peer is gone (TCP keep-alive, RFC 9293 §3.8.4)."""
    _set(transport, socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_KEEPIDLE"):  # macOS has other names for it
        _set(transport, socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_S)
        _set(transport, socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_IDLE_S // KEEPALIVE_PROBES)
        _set(transport, socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_PROBES)


def _set(transport: asyncio.Transport, level: int, option: int, value: int | bytes) -> None:
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.family != socket.AF_UNIX:
        with suppress(OSError):
            sock.setsockopt(level, option, value)
