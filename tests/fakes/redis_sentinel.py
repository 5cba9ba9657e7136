"""A real primary with replicas, watched by real Sentinels.

Everything here blocks, and servers are started from the main thread: see `redis_cluster.py`.
"""

from collections.abc import Sequence
from pathlib import Path

from tests.fakes.redis_server import PortedServer, server_binary
from tests.fakes.waiting import until

SERVICE = "main"
PATIENT_MS = 60_000
"""How long Sentinels wait for a word from a server. On a busy host it is silent for a while: a test says when it is gone."""
IMPATIENT_MS = 200
"""The same while a test waits for one that is gone to be replaced, which takes about a second more."""


class Sentinel(PortedServer):
    """One Sentinel. Its file is its memory: it writes what it learns into it."""

    def __init__(self, directory: Path, lines: Sequence[str]) -> None:
        super().__init__(directory)
        self._file = directory / "sentinel.conf"
        own = (f"port {self.port}", "bind 127.0.0.1", f"unixsocket {self.path}", f"dir {directory}")
        self._file.write_text("\n".join((*own, *lines)) + "\n")

    def command_line(self) -> list[str]:
        return [server_binary(), str(self._file), "--sentinel"]


class SentinelGroup:
    """One primary, some replicas, some Sentinels of which more than half must agree.

    arguments      for the primary and the replicas
    sentinel_lines more lines for the Sentinels' files
    """

    def __init__(
        self,
        directory: Path,
        *,
        replicas: int = 1,
        sentinels: int = 3,
        arguments: Sequence[str] = (),
        sentinel_lines: Sequence[str] = (),
    ) -> None:
        self._directory = directory
        sync = ("--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0", "--repl-diskless-load", "swapdb")
        self.servers = [PortedServer(directory / str(n), *sync, *arguments) for n in range(1 + replicas)]
        lines = (
            f"sentinel monitor {SERVICE} 127.0.0.1 {self.servers[0].port} {sentinels // 2 + 1}",
            f"sentinel down-after-milliseconds {SERVICE} {PATIENT_MS}",
            f"sentinel failover-timeout {SERVICE} 3000",
            *sentinel_lines,
        )
        self.sentinels = [Sentinel(directory / f"s{n}", lines) for n in range(sentinels)]

    def start(self) -> None:
        """Start all, and wait until every Sentinel knows every other one and every replica, and these are in step."""
        for server in self.servers:
            server.start()
        for replica in self.servers[1:]:
            replica.command("REPLICAOF", "127.0.0.1", self.servers[0].port)
        until(self._in_step, "the replicas are in step")
        for sentinel in self.sentinels:
            sentinel.start()
        until(lambda: all(self._knows_all(sentinel) for sentinel in self.sentinels), "the Sentinels know all")

    def _in_step(self) -> bool:
        return all(replica.command("ROLE")[3] == "connected" for replica in self.servers[1:])

    def _knows_all(self, sentinel: Sentinel) -> bool:
        replicas = len(sentinel.command("SENTINEL", "REPLICAS", SERVICE))
        others = len(sentinel.command("SENTINEL", "SENTINELS", SERVICE))
        return (replicas, others) == (len(self.servers) - 1, len(self.sentinels) - 1)

    def close(self) -> None:
        for server in (*self.sentinels, *self.servers):
            server.kill()

    @property
    def url(self) -> str:
        """The store URL that names every Sentinel."""
        return f"redis+sentinel://{','.join(sentinel.address for sentinel in self.sentinels)}/{SERVICE}"

    @property
    def primary(self) -> PortedServer:
        """Which server the first running Sentinel sends clients to."""
        asked = next(sentinel for sentinel in self.sentinels if sentinel.running)
        _, port = asked.command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
        return next(server for server in self.servers if server.port == int(port))

    def fail_over(self, leads: int = 0) -> PortedServer:
        """This Sentinel is to promote a replica although the primary is well; returns the new primary."""
        before = self.primary
        begin = ("SENTINEL", "FAILOVER", SERVICE)  # refused until it has looked at the replicas
        until(lambda: self.sentinels[leads].command(*begin) == "OK", "a replica can be promoted")
        return self._replaced(before)

    def wait_for_promotion(self, lost: PortedServer) -> PortedServer:
        """After the primary was killed or frozen: the one that took its place, when the Sentinels say so. Only now do they
        give it up."""
        self._wait_for_servers(IMPATIENT_MS)
        promoted = self._replaced(lost)
        self._wait_for_servers(PATIENT_MS)
        return promoted

    def _replaced(self, lost: PortedServer) -> PortedServer:
        until(lambda: self.primary is not lost and self.primary.role == "master", "a replica is promoted")
        return self.primary

    def _wait_for_servers(self, down_after_ms: int) -> None:
        for sentinel in self.sentinels:
            if sentinel.running:
                sentinel.command("SENTINEL", "SET", SERVICE, "down-after-milliseconds", down_after_ms)
