"""The listening sockets, bound before any worker exists, so that "port taken" is one line and no half-started gateway.

On Linux every worker gets a socket of its own on the same port (SO_REUSEPORT) and the kernel spreads connections
evenly. Callers keep their connections, so an uneven start stays uneven: of 64 connections opened at once, four
workers behind one shared socket got 0 to 58 each, with a socket each 11 to 21 (`benchmarks/listening_sockets.py`).
The usual price, connections lost in the queue of a worker that dies, is not paid here: this process keeps every
socket open, and what was queued waits for the worker's successor.

Elsewhere SO_REUSEPORT does not spread, so the workers share one socket.
"""

import errno
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

from gateway.settings import Listen, Settings
from gateway.supervisor.failure import StartFailed

BACKLOG = 4_096  # the kernel takes the lesser of this and net.core.somaxconn
SPREADS = sys.platform == "linux"


@dataclass(frozen=True, slots=True)
class Doors:
    """The bound sockets: for calls one per worker (maybe all the same), for the admin API one for all workers."""

    listening: tuple[socket.socket, ...]
    admin: socket.socket | None

    def as_bound(self, settings: Settings) -> Settings:
        """The settings with the ports the sockets really have."""
        listen = replace(settings.listen, port=_port(self.listening[0]))
        admin = settings.admin
        if admin is not None and self.admin is not None:
            admin = replace(admin, port=_port(self.admin))
        return replace(settings, listen=listen, admin=admin)

    def all(self) -> set[socket.socket]:
        """Every socket once."""
        return {*self.listening, *([self.admin] if self.admin else [])}


@contextmanager
def open_doors(settings: Settings) -> Iterator[Doors]:
    """Bind and listen. Raises StartFailed that names the address and the option that changes it."""
    with ExitStack() as stack:
        calls = _listen_many(stack, settings.listen, "--listen", settings.workers)
        admin = _listen_many(stack, settings.admin, "--admin", 1)[0] if settings.admin else None
        yield Doors(calls, admin)


def pause_queue(listening: socket.socket) -> None:
    """Take a worker's own socket out of the kernel's choice while nobody serves it. Drops what is queued."""
    if SPREADS:
        listening.shutdown(socket.SHUT_RD)  # Linux: a listening socket goes back to bound


def resume_queue(listening: socket.socket) -> None:
    """Undo `pause_queue`."""
    listening.listen(BACKLOG)


def _listen_many(stack: ExitStack, listen: Listen, option: str, count: int) -> tuple[socket.socket, ...]:
    try:
        family, address = _resolve(listen)
        if count == 1 or not SPREADS:
            return (stack.enter_context(_listen(family, address, share_port=False)),) * count
        address = _reserve(family, address)
        return tuple(stack.enter_context(_listen(family, address, share_port=True)) for _ in range(count))
    except OSError as error:
        raise StartFailed(_why_not(listen, option, error)) from error


def _resolve(listen: Listen) -> tuple[socket.AddressFamily, tuple[str, int]]:
    found = socket.getaddrinfo(listen.host, listen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _, _, _, address = found[0]
    return family, (str(address[0]), int(address[1]))


def _reserve(family: socket.AddressFamily, address: tuple[str, int]) -> tuple[str, int]:
    """Fail if the port is taken, also by another gateway: its SO_REUSEPORT sockets would let ours in beside them."""
    with _bound(family, address, share_port=False) as probe:
        return address[0], _port(probe)


def _listen(family: socket.AddressFamily, address: tuple[str, int], *, share_port: bool) -> socket.socket:
    sock = _bound(family, address, share_port=share_port)
    try:
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def _bound(family: socket.AddressFamily, address: tuple[str, int], *, share_port: bool) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if share_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)  # `[::]` means every address
        sock.bind(address)
    except OSError:
        sock.close()
        raise
    return sock


def _port(sock: socket.socket) -> int:
    return int(sock.getsockname()[1])


def _why_not(listen: Listen, option: str, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"cannot listen on {listen}: port {listen.port} is taken; choose another with {option} HOST:PORT"
    if error.errno == errno.EACCES:
        return (
            f"cannot listen on {listen}: not allowed to use port {listen.port}; choose another with {option} HOST:PORT"
        )
    reason = error.strerror if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)
    return f"cannot listen on {listen}: {reason}; choose another address with {option} HOST:PORT"
