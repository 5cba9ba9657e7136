"""Tell systemd how far we are (`Type=notify`): one datagram, when NOTIFY_SOCKET says where (sd_notify(3))."""

import os
import re
import socket
import time
from contextlib import suppress


def ready() -> None:
    """Tell systemd that serving has begun."""
    _send("READY=1")


def reloading() -> None:
    """Files are being read again; `ready` says when that is over. The time is what systemd wants to see (its v253)."""
    _send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")


def stopping() -> None:
    """Tell systemd that the gateway drains."""
    _send("STOPPING=1")


def main_pid(pid: int) -> None:
    """Another process is the service from now on, and says all this from now on.

    What it has said so far did not count, nor will what we say after this (`NotifyAccess=main`). So this says too that
    it is ready: else a service that was just reloading would be so for ever. And that it lives: it may
    have said so just before.
    """
    _send(f"MAINPID={pid}\nREADY=1\nWATCHDOG=1")


def watchdog_s() -> float | None:
    """How often to say that we live (`WatchdogSec=`): half of what systemd waits; None = it does not ask."""
    asked = os.environ.get("WATCHDOG_USEC", "")
    mine = os.environ.get("WATCHDOG_PID", "") in ("", str(os.getpid()))
    return int(asked) / 2e6 if mine and re.fullmatch("[1-9][0-9]{0,18}", asked) else None


def alive() -> None:
    """Tell systemd's watchdog that the supervisor is at work."""
    _send("WATCHDOG=1")


def _send(state: str) -> None:
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):  # Linux abstract namespace
        address = "\0" + address[1:]
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.sendto(state.encode(), address)
