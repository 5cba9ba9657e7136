"""The listening sockets, bound before any worker exists, so that "port taken" is one line and no half-started gateway.

On Linux every worker gets a socket of its own on the same port (SO_REUSEPORT) and the kernel spreads connections
evenly. Callers keep their connections, so an uneven start stays uneven: of 64 connections opened at once, four
workers behind one shared socket got 0 to 58 each, with a socket each 11 to 21 (`benchmarks/listening_sockets.py`).
The usual price, connections lost in the queue of a worker that dies, is not paid here: this process keeps every
socket open, and what was queued waits for the worker's successor.

Elsewhere SO_REUSEPORT does not spread, so the workers share one socket. So do they with a socket that systemd bound:
another user may not bind beside it.
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
from gateway.supervisor.inheritance import Inheritance

BACKLOG = 4_096  # the kernel takes the lesser of this and net.core.somaxconn
SPREADS = sys.platform == "linux"


@dataclass(frozen=True, slots=True)
class Doors:
    """The bound sockets: for calls one per worker (maybe all the same), for the admin API one for all workers.

    given  those of `listen` and `admin` whose addresses somebody else has chosen
    """

    listening: tuple[socket.socket, ...]
    admin: socket.socket | None
    given: frozenset[str] = frozenset()

    def as_bound(self, settings: Settings) -> Settings:
        """The settings with the addresses the sockets really have."""
        listen = self._really(settings.listen, self.listening[0], "listen")
        admin = settings.admin
        if admin is not None and self.admin is not None:
            admin = self._really(admin, self.admin, "admin")
        return replace(settings, listen=listen, admin=admin)

    def alone(self, sock: socket.socket) -> bool:
        """Whether a socket of `listening` is one worker's own, and nobody else's either."""
        return self.listening.count(sock) == 1 and "listen" not in self.given

    def _really(self, listen: Listen, sock: socket.socket, name: str) -> Listen:
        host = str(sock.getsockname()[0]) if name in self.given else listen.host
        return replace(listen, host=host, port=_port(sock))

    def all(self) -> set[socket.socket]:
        """Every listening socket, each once."""
        return {*self.listening, *([self.admin] if self.admin else [])}


@contextmanager
def open_doors(settings: Settings, inherited: Inheritance = Inheritance()) -> Iterator[Doors]:  # noqa: B008 - frozen
    """Bind and listen, as far as nobody has done it for us. Raises StartFailed that names address and option."""
    with ExitStack() as stack:
        for sock in (*inherited.listen, *inherited.admin):
            stack.enter_context(sock)
        if "admin" in inherited.given and settings.admin is None:
            raise StartFailed("systemd hands over a socket for the admin listener, and the settings want none")
        calls = _open(stack, settings.listen, "listen", settings.workers, inherited)
        admin = _open(stack, settings.admin, "admin", 1, inherited)[0] if settings.admin else None
        yield Doors(calls, admin, inherited.given)


def pause_queue(listening: socket.socket) -> None:
    """Take a worker's own socket out of the kernel's choice while nobody serves it. Drops what is queued."""
    if SPREADS:
        listening.shutdown(socket.SHUT_RD)  # Linux: a listening socket goes back to bound


def resume_queue(listening: socket.socket) -> None:
    """Undo `pause_queue`."""
    listening.listen(BACKLOG)


def _open(stack: ExitStack, listen: Listen, name: str, count: int, inherited: Inheritance) -> tuple[socket.socket, ...]:
    here = inherited.listen if name == "listen" else inherited.admin
    if name in inherited.given:
        return tuple(here[number % len(here)] for number in range(count))
    try:
        family, address = _resolve(listen)
        ours = tuple(sock for sock in here if _listens_at(sock, family, address))[:count]
        for sock in set(here).difference(ours):
            sock.close()  # or callers would wait there for nobody
        return _add(stack, family, address, ours, count)
    except OSError as error:
        raise StartFailed(_why_not(listen, f"--{name}", error)) from error


def _listens_at(sock: socket.socket, family: socket.AddressFamily, address: tuple[str, int]) -> bool:
    host, port = sock.getsockname()[:2]
    return sock.family == family and host == address[0] and address[1] in (0, port)


def _add(
    stack: ExitStack,
    family: socket.AddressFamily,
    address: tuple[str, int],
    here: tuple[socket.socket, ...],
    count: int,
) -> tuple[socket.socket, ...]:
    """As many as are wanted, with those that are here."""
    if not SPREADS:
        return (here or (stack.enter_context(_listen(family, address, share_port=False)),)) * count
    if here:
        address = address[0], _port(here[0])
    elif address[1]:
        _reserve(family, address)
    sockets = list(here)
    while len(sockets) < count:
        sockets.append(stack.enter_context(_listen(family, address, share_port=True)))
        address = address[0], _port(sockets[0])
    return tuple(sockets)


def _resolve(listen: Listen) -> tuple[socket.AddressFamily, tuple[str, int]]:
    found = socket.getaddrinfo(listen.host, listen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _, _, _, address = found[0]
    return family, (str(address[0]), int(address[1]))


def _reserve(family: socket.AddressFamily, address: tuple[str, int]) -> None:
    """Fail if the port is taken, also by another gateway: its SO_REUSEPORT sockets would let ours in beside them."""
    _bound(family, address, share_port=False).close()


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
