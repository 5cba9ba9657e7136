"""A real Redis Cluster on loopback: formed, failed over, resharded and torn apart by tests.

Everything here blocks. In a coroutine that must go on meanwhile: `await asyncio.to_thread(cluster.fail_over, node)`.
`start`, `start_node` and `RedisServer.start` are for the main thread: a server ends with the thread that started it.
"""

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from redis.crc import key_slot

from tests.fakes import ports
from tests.fakes.redis_server import PortedServer
from tests.fakes.waiting import until

SLOTS = 16384
PATIENT_MS = 15_000
"""How long the servers wait for a word from each other. On a busy host they are silent for a while: who were taken for
dead then would be replaced in the midst of a test that has not asked for it."""
TALKATIVE_MS = 2_000
"""The same while they are to agree: the shorter they wait for a word, the more often they say one."""
IMPATIENT_MS = 500
"""The same while a test waits for one that is gone to be replaced, which takes about a second more."""
PAUSE_MS = 60_000
"""How long a primary that is being replaced holds back writes at most."""


class ClusterNode(PortedServer):
    """One server of a cluster."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        self.bus_port = ports.free_port()
        super().__init__(
            directory,
            *("--cluster-port", str(self.bus_port)),
            *("--cluster-enabled", "yes", "--cluster-config-file", str(directory / "nodes.conf")),
            *("--cluster-node-timeout", str(PATIENT_MS), "--cluster-replica-validity-factor", "0"),
            *("--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0", "--repl-diskless-load", "swapdb"),
            *arguments,
        )
        self._id = ""

    @property
    def id(self) -> str:
        self._id = self._id or str(self.command("CLUSTER", "MYID"))
        return self._id

    def says(self, name: str) -> str:
        """One line of `CLUSTER INFO`: `node.says("cluster_state")`."""
        lines = (line.partition(":") for line in self.command("CLUSTER", "INFO").split())
        return next(value for known, _, value in lines if known == name)


class RedisCluster:
    """Some primaries that share the slots evenly, and some replicas of each.

    arguments  for every server; with `--requirepass` and the like give the unix user the rights it had
    """

    def __init__(
        self,
        directory: Path,
        primaries: int = 3,
        *,
        replicas: int = 0,
        arguments: Sequence[str] = (),
    ) -> None:
        self._directory = directory
        self._arguments = tuple(arguments)
        self._primaries = primaries
        self._replicas = replicas
        self.nodes: list[ClusterNode] = []

    # -- life

    def start(self) -> None:
        """Start all servers, form the cluster, and wait until every one of them says it works."""
        for _ in range(self._primaries * (1 + self._replicas)):
            self._add()
        for node in self.nodes:
            node.wait_until_it_answers()
        primaries = self.nodes[: self._primaries]
        for index, node in enumerate(primaries):
            first, last = SLOTS * index // len(primaries), SLOTS * (index + 1) // len(primaries) - 1
            node.command("CLUSTER", "ADDSLOTS", *range(first, last + 1))
            node.command("CLUSTER", "SET-CONFIG-EPOCH", index + 1)
        self._meet()
        for index, node in enumerate(self.nodes[self._primaries :]):
            self.replicate(node, primaries[index % len(primaries)])
        self.wait_until_it_works()

    def start_node(self) -> ClusterNode:
        """One server more: a primary without slots, known to all."""
        node = self._add()
        node.wait_until_it_answers()
        self._meet()
        return node

    def _add(self) -> ClusterNode:
        directory = self._directory / str(len(self.nodes))
        node = ClusterNode(directory, *self._arguments)
        self.nodes.append(node)
        node.spawn()
        return node

    def _meet(self) -> None:
        running = self.running
        for place, node in enumerate(running):
            for other in running[:place]:
                node.command("CLUSTER", "MEET", "127.0.0.1", other.port, other.bus_port)
        ids = {node.id for node in running}
        until(lambda: all(ids <= set(self.known_to(node)) for node in running), "all know each other")

    def wait_until_it_works(self) -> None:
        """Until every running node says that all slots are served and the same of who replicates whom, takes none for
        dead, and all replicas are in step."""
        for timeout_ms in (TALKATIVE_MS, PATIENT_MS):  # who was being replaced meanwhile would be so afterwards, too
            self._wait_for_each_other(timeout_ms)
            self._wait_until_all_agree()

    def _wait_until_all_agree(self) -> None:
        def works(node: ClusterNode) -> bool:
            if node.says("cluster_state") != "ok" or self._view(node) != self._view(self.running[0]):
                return False
            if self._replication(node) != self._replication(self.running[0]) or self._takes_for_dead(node):
                return False
            role = node.command("ROLE")
            return role[0] == "master" or role[3] == "connected"

        until(lambda: all(works(node) for node in self.running), "the cluster works")

    def mend(self) -> None:
        """Thaw and start whatever is not running, and wait until all works: for the next test.

        Servers that do not come to an agreement after what a test has done to them are replaced by new ones.
        """
        for node in self.nodes:
            if node.frozen:
                node.thaw()
            elif not node.running:
                node.start()
        try:
            self.wait_until_it_works()
        except AssertionError:
            self.close()
            self.nodes.clear()
            shutil.rmtree(self._directory)
            self.start()

    def close(self) -> None:
        for node in self.nodes:
            node.kill()

    # -- who is who

    @property
    def url(self) -> str:
        """The store URL that names every node."""
        return "redis+cluster://" + ",".join(node.address for node in self.nodes)

    @property
    def running(self) -> list[ClusterNode]:
        return [node for node in self.nodes if node.running]

    @property
    def primaries(self) -> list[ClusterNode]:
        """The running nodes that own slots, as the first running one sees it."""
        owners = set(self._view(self.running[0]).values())
        return [node for node in self.running if node.id in owners]

    def known_to(self, node: ClusterNode) -> dict[str, str]:
        """{id: id of its primary or "-"} of all nodes that this one knows and has shaken hands with."""
        lines = [line.split() for line in node.command("CLUSTER", "NODES").splitlines()]
        return {line[0]: line[3] for line in lines if "handshake" not in line[2]}

    def _view(self, node: ClusterNode) -> dict[tuple[int, int], str]:
        """{(first slot, last slot): id of the owner}, as this node sees it."""
        return {(first, last): owner[2] for first, last, owner, *_ in node.command("CLUSTER", "SLOTS")}

    def _slots(self, owner: ClusterNode, node: ClusterNode) -> set[tuple[int, int]]:
        """What the owner serves, as this node sees it."""
        return {slots for slots, identity in self._view(node).items() if identity == owner.id}

    def _replication(self, node: ClusterNode) -> dict[str, str]:
        """{id: id of its primary or "-"} of the running nodes, as this node sees it."""
        known = self.known_to(node)
        return {one.id: known.get(one.id, "") for one in self.running}

    def _takes_for_dead(self, node: ClusterNode) -> bool:
        """Whether it does so of one that runs, or thinks of it."""
        running = {one.id for one in self.running}
        lines = [line.split() for line in node.command("CLUSTER", "NODES").splitlines()]
        return any({"fail", "fail?"} & {*line[2].split(",")} for line in lines if line[0] in running)

    def owner(self, key: str | int) -> ClusterNode:
        """The primary that serves this key (or slot), as the first running node sees it."""
        slot = key if isinstance(key, int) else key_slot(key.encode())
        return self._owner(slot, self._view(self.running[0]))

    def _owner(self, slot: int, view: Mapping[tuple[int, int], str]) -> ClusterNode:
        identity = next((owner for (first, last), owner in view.items() if first <= slot <= last), "nobody")
        return next(node for node in self.nodes if node.id == identity)

    def replicas_of(self, primary: ClusterNode) -> list[ClusterNode]:
        """The running replicas of a primary, which may be gone itself."""
        asked = next(node for node in self.running if node is not primary)
        known = self.known_to(asked)
        return [node for node in self.running if known.get(node.id) == primary.id]

    def text_at(self, node: ClusterNode, pattern: str = "{}") -> str:
        """A text that, put in place of the braces of `pattern`, makes a key of which this node is the owner."""
        view = self._view(self.running[0])
        texts = (f"t{number}" for number in range(100_000))
        return next(text for text in texts if self._owner(key_slot(pattern.format(text).encode()), view) is node)

    # -- what happens to clusters

    def replicate(self, node: ClusterNode, primary: ClusterNode) -> None:
        """Make a node without slots a replica."""
        until(lambda: primary.id in self.known_to(node), "the primary is known")
        node.command("CLUSTER", "REPLICATE", primary.id)

    def fail_over(self, primary: ClusterNode) -> ClusterNode:
        """A replica takes over from a primary, and loses nothing; returns it when all running nodes have heard of it.

        As `CLUSTER FAILOVER` does it, but nobody is asked to vote: votes of a minute ago would count, and who then is
        promoted with an old epoch is believed by nobody.
        """
        replica, slots = until(lambda: self.replicas_of(primary), "it has one")[0], self._slots(primary, primary)
        primary.command("CLIENT", "PAUSE", PAUSE_MS, "WRITE")
        written = primary.command("INFO", "replication")["master_repl_offset"]
        until(lambda: replica.command("INFO", "replication")["slave_repl_offset"] >= written, "the replica has it all")
        replica.command("CLUSTER", "FAILOVER", "TAKEOVER")
        until(lambda: primary.role == "slave", "the primary has heard of it")
        primary.command("CLIENT", "UNPAUSE")
        try:
            until(lambda: all(slots <= self._slots(replica, node) for node in self.running), "all know who took over")
        except AssertionError as late:
            raise AssertionError("\n".join([f"{late}; {replica.port} for {primary.port}", *self._told()])) from None
        return replica

    def _told(self) -> Iterator[str]:
        """What each running node says of all, and has said in its log lately."""
        for node in self.running:
            yield f"{node.port}:\n{node.command('CLUSTER', 'NODES')}{node.log()[-2000:]}"

    def wait_for_promotion(self, replicas: Sequence[ClusterNode]) -> ClusterNode:
        """After their primary was killed or frozen: the one of these (`replicas_of` it) that took its place, and all know.
        Only now do the others give it up."""

        def promoted() -> ClusterNode | None:
            views = [self._view(node).values() for node in self.running]
            return next((node for node in replicas if node.role == "master" and all(node.id in v for v in views)), None)

        self._wait_for_each_other(IMPATIENT_MS)
        found = until(promoted, "a replica is promoted")
        self._wait_for_each_other(PATIENT_MS)
        assert found is not None
        return found

    def _wait_for_each_other(self, timeout_ms: int) -> None:
        for node in self.running:
            node.command("CONFIG", "SET", "cluster-node-timeout", timeout_ms)

    def begin_move(self, slot: int, to: ClusterNode) -> ClusterNode:
        """From now on the owner answers ASK for keys of this slot that it does not hold. Returns the owner."""
        source = self.owner(slot)
        to.command("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
        source.command("CLUSTER", "SETSLOT", slot, "MIGRATING", to.id)
        return source

    def move_keys(self, slot: int, source: ClusterNode, to: ClusterNode, keys: Iterable[str] = ()) -> None:
        """Move these keys of a slot that is being moved, or all."""
        for key in keys or source.command("CLUSTER", "GETKEYSINSLOT", slot, 100_000):
            source.command("MIGRATE", "127.0.0.1", to.port, key, 0, 5000)

    def end_move(self, slot: int, to: ClusterNode) -> None:
        """The slot belongs to its new owner, and all primaries know."""
        for node in [to, *(node for node in self.primaries if node is not to)]:
            node.command("CLUSTER", "SETSLOT", slot, "NODE", to.id)

    def move_slot(self, slot: int, to: ClusterNode) -> None:
        """A slot with all its keys goes to another primary, as resharding tools do it."""
        source = self.begin_move(slot, to)
        while source.command("CLUSTER", "COUNTKEYSINSLOT", slot):
            self.move_keys(slot, source, to)
        self.end_move(slot, to)
