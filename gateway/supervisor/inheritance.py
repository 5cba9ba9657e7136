"""Listening sockets that somebody else has bound for us: systemd, or the gateway whose place we take.

systemd's come as sd_listen_fds(3) has it: LISTEN_FDS of them from descriptor 3 on, if LISTEN_PID is us. The one that
LISTEN_FDNAMES calls `admin` is the admin listener's, every other one the callers'. Their addresses hold, whatever the
settings say: who binds decides.

A predecessor (`gateway.supervisor.succession`) tells us the descriptors in one variable. Its sockets are ours as far
as the settings still want their addresses.
"""

import json
import os
import re
import socket
from collections.abc import Iterable, MutableMapping
from contextlib import suppress
from dataclasses import dataclass

from gateway.supervisor.failure import StartFailed

SUCCEEDS = "RATELIMIT_GATEWAY_SUCCEEDS"
FIRST_FD = 3


@dataclass(frozen=True, slots=True)
class Inheritance:
    """What there is before anything is bound.

    listen, admin  sockets by the setting they stand for
    given          those of the two whose addresses are not ours to choose
    ready_fd       where a predecessor waits to hear that we serve; -1 = there is none
    """

    listen: tuple[socket.socket, ...] = ()
    admin: tuple[socket.socket, ...] = ()
    given: frozenset[str] = frozenset()
    ready_fd: int = -1

    def tell_ready(self) -> None:
        """Every worker serves: the predecessor may go. If it has died meanwhile, so be it."""
        if self.ready_fd >= 0:
            with suppress(OSError):
                os.write(self.ready_fd, b"r")
            os.close(self.ready_fd)


def inherit(environment: MutableMapping[str, str]) -> Inheritance:
    """What we were given. Takes the variables that say it out of `environment`: they are meant for nobody else.

    Raises StartFailed for a variable that makes no sense, and for a socket that cannot be a listener's.
    """
    will = environment.pop(SUCCEEDS, "")
    listen_pid, count, names = (environment.pop(f"LISTEN_{name}", "") for name in ("PID", "FDS", "FDNAMES"))
    if will:
        return _from_predecessor(will)
    if not count or listen_pid != str(os.getpid()):
        return Inheritance()
    if not re.fullmatch("[0-9]{1,9}", count):
        raise StartFailed(f"LISTEN_FDS={count} in the environment is no number of sockets")
    return _from_systemd(range(FIRST_FD, FIRST_FD + int(count)), names.split(":"))


def bequest(
    listen: Iterable[socket.socket], admin: socket.socket | None, given: frozenset[str], ready_fd: int
) -> tuple[str, set[int]]:
    """The words for a successor and the descriptors that it has to be given under the numbers they have here."""
    fds = sorted({sock.fileno() for sock in listen})
    admin_fds = [admin.fileno()] if admin is not None else []
    words = {"listen": fds, "admin": admin_fds, "given": sorted(given), "ready": ready_fd}
    return json.dumps(words), {*fds, *admin_fds, ready_fd}


def _from_predecessor(will: str) -> Inheritance:
    try:
        words = json.loads(will)
        os.set_inheritable(words["ready"], False)
        listen, admin = (tuple(_socket(fd) for fd in words[name]) for name in ("listen", "admin"))
        return Inheritance(listen, admin, frozenset(words["given"]), words["ready"])
    except (ValueError, TypeError, LookupError, OverflowError, OSError) as error:
        raise StartFailed(
            f"{SUCCEEDS} in the environment is not what a gateway tells its successor: unset it"
        ) from error


def _from_systemd(fds: range, names: list[str]) -> Inheritance:
    found: dict[str, list[socket.socket]] = {"listen": [], "admin": []}
    for number, fd in enumerate(fds):
        found["admin" if names[number : number + 1] == ["admin"] else "listen"].append(_socket(fd))
    if len(found["admin"]) > 1:
        for sock in (*found["listen"], *found["admin"]):
            sock.close()
        raise StartFailed("systemd hands over several sockets named admin; the admin listener has one address")
    listen, admin = tuple(found["listen"]), tuple(found["admin"])
    return Inheritance(listen, admin, frozenset(name for name, sockets in found.items() if sockets))


def _socket(fd: int) -> socket.socket:
    """Ours alone from now on: what we start does not get it unasked."""
    try:
        sock = socket.socket(fileno=fd)
        listens = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise StartFailed(f"descriptor {fd} was handed over and is no socket: {error.strerror}") from error
    sock.set_inheritable(False)
    if not listens or sock.family not in (socket.AF_INET, socket.AF_INET6):
        sock.close()
        raise StartFailed(f"descriptor {fd} was handed over and is no TCP socket that listens (ListenStream=PORT)")
    sock.setblocking(False)
    return sock
