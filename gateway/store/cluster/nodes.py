"""The servers of a Redis Cluster: a link to each primary, which slots it serves, and the way after what has moved.

Every primary has a pipeline of its own, so that one that is gone costs only the calls whose limits it counts. Who
serves what is asked anew when a link is in trouble, when a server sends us elsewhere, and now and then.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from time import monotonic
from typing import Any

from gateway.core.store_url import StoreUrl
from gateway.lasting import apart, lasting
from gateway.names import KnownNames
from gateway.store import StoreDown
from gateway.store.cluster.node import Message, Node
from gateway.store.cluster.topology import discover
from gateway.store.connection.crowd import Form
from gateway.store.connection.dial import Dialer
from gateway.store.connection.faults import Redirected, cluster_fault_of
from gateway.store.connection.link import Link
from gateway.store.connection.names import Names
from gateway.store.connection.pipeline import OnEvent, Pipeline, refused
from gateway.store.connection.slots import SLOTS, tag_within
from gateway.store.connection.transports import Address
from gateway.waiting import end, happens_within

MAX_REDIRECTS = 5
LOOK_S = 10.0
"""Between two looks at the topology while all is well."""
MIN_GAP_S, MAX_GAP_S = 0.4, 0.6
"""Between two looks whatever happens: the first after some time of peace begins at once."""

ProbeNode = Callable[[Link, str], Awaitable[object]]
"""Sends one command over the link that shows whether decisions work; the text is a hash tag of the server's, "" = it
has no slots."""


class Nodes:
    """The cluster as seen by one worker. `prepare` and `timeout_s` are as for `Pipeline`, `known` as for `Dialer`."""

    def __init__(
        self,
        url: StoreUrl,
        *,
        timeout_s: float,
        prepare: Callable[[Link], None],
        probe: ProbeNode,
        on_event: OnEvent,
        known: KnownNames | None = None,
    ) -> None:
        self._url = url
        self._known = known or KnownNames()
        self._names = Names(self._known)
        self._timeout_s = timeout_s
        self._prepare = prepare
        self._probe = probe
        self._on_event = apart("hearing of the store", on_event)
        self._nodes: dict[Address, Node] = {}
        self._owners: list[Node | None] = [None] * SLOTS
        self._primaries: tuple[Node, ...] = ()
        self._unknown: StoreDown | None = StoreDown("connect", "not started")
        self._down_since: float | None = None
        self._lapsed_s: dict[int, float] = {}
        self._stale = asyncio.Event()
        self._looked = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._retiring: set[asyncio.Task[None]] = set()

    # -- for callers

    @property
    def fault(self) -> StoreDown | None:
        """Why some commands fail right now; None while every slot is served and every primary is up."""
        if self._unknown is not None:
            return self._unknown
        for node in self._primaries:
            if node.fault is not None:
                return node.fault
        return None

    @property
    def primaries(self) -> Sequence[Node]:
        """Those that serve slots."""
        return self._primaries

    def send(self, slot: int, message: Message, form: Form | None = None) -> "asyncio.Future[Any]":
        """Send a packed command to the server of the slot. `answer` has the rest."""
        node = self._owners[slot]
        if node is not None:
            return node.ask(message, form)
        return refused(self._unknown or StoreDown("other", f"no primary serves slot {slot}"))

    async def answer(self, slot: int, message: Message, sent: "asyncio.Future[Any]") -> Any:
        """What `send` was answered in the end, wherever it was sent on to.

        Raises StoreDown; Redirected("TRYAGAIN") while some of the command's keys have moved and some have not.
        """
        node = self._owners[slot]
        try:
            return await sent
        except Redirected as redirected:
            if redirected.code == "TRYAGAIN":
                raise
            # In a task: a call's coroutine cannot have a deadline of its own.
            return await asyncio.create_task(self._follow(slot, message, node, redirected), name="redirected")

    async def ask(self, slot: int, message: Message, form: Form | None = None) -> Any:
        """`send` and `answer`."""
        return await self.answer(slot, message, self.send(slot, message, form))

    def well(self, slot: int) -> bool:
        """Whether commands about this slot flow right now."""
        node = self._owners[slot]
        return node is not None and node.pipeline.fault is None

    def stayed(self, slot: int, since_s: float) -> bool:
        """Whether a server has been there for this slot ever since."""
        return self._lapsed_s.get(slot, 0.0) < since_s

    def tell_if_in_trouble(self, slot: int, message: Message) -> bool:
        """Send a packed command to a server in trouble, and forget it; False = it is well, or no link is left."""
        node = self._owners[slot]
        if node is None or node.pipeline.fault is None:
            return False
        command, _, _, source = message
        return node.pipeline.tell(command, source)

    # -- redirects

    async def _follow(self, slot: int, message: Message, node: Node | None, redirected: Redirected) -> Any:
        """Ask where a server says, and where that one says, for so long at most as a caller waits at all."""
        try:
            async with asyncio.timeout(self._timeout_s):
                for _ in range(MAX_REDIRECTS):
                    if self._keeper is None:
                        raise StoreDown("connect", "the store is closed")  # nobody would end another link
                    node = self._node(redirected.host or (node.address[0] if node else ""), redirected.port)
                    try:
                        if redirected.code == "ASK":
                            return await node.ask_this_time(message)
                        return await self._ask_from_now_on(slot, node, message)
                    except Redirected as once_more:
                        if once_more.code == "TRYAGAIN":
                            raise
                        redirected = once_more
        except TimeoutError:
            raise StoreDown("timeout", f"no answer within {self._timeout_s * 1000:g} ms, also elsewhere") from None
        lost = StoreDown("other", f"sent on {MAX_REDIRECTS} times, at last with {redirected.detail}")
        lost.nothing_ran = True
        raise lost

    async def _ask_from_now_on(self, slot: int, node: Node, message: Message) -> Any:
        """Until it is linked, others are sent on to it as well, and wait; not if that takes one of them too long."""
        node.used_at = monotonic()
        self._stale.set()
        try:
            await node.pipeline.tried()
        finally:
            self._owners[slot] = node
        if node not in self._primaries:  # from now on its troubles are the cluster's
            self._primaries = (*self._primaries, node)
            self._judge()
        return await node.pipeline.ask(*message)

    # -- life

    async def start(self) -> None:
        """Start keeping the links; returns when the first attempt is done. Raises StoreDown when that failed."""
        self._keeper = lasting("cluster topology", self._keep)
        await self._looked.wait()
        if self.fault is not None:
            raise StoreDown(self.fault.kind, self.fault.detail)

    async def close(self) -> None:
        """Send what is queued and stop. Commands fail from now on. Idempotent."""
        keeper, self._keeper = self._keeper, None
        await end(keeper)
        self._names.close()
        for task in self._retiring:
            task.cancel()
        self._unknown = StoreDown("connect", "the store is closed")
        self._owners = [None] * SLOTS
        nodes, self._nodes, self._primaries = [*self._nodes.values()], {}, ()
        await asyncio.gather(*(node.pipeline.close() for node in nodes), *self._retiring, return_exceptions=True)

    async def _keep(self) -> None:
        """Look at the topology, whenever there is reason to, until cancelled."""
        while True:
            try:
                await self._look()
            except StoreDown as fault:
                if not self._primaries:
                    self._unknown = fault
            except Exception as error:  # even a mistake of ours: nothing but the next look can bring the store back
                self._unknown = StoreDown("other", f"{type(error).__name__}: {error}")
            self._judge()
            self._looked.set()
            gap_s = random.uniform(MIN_GAP_S, MAX_GAP_S)  # noqa: S311
            await asyncio.sleep(gap_s)
            if self.fault is None:
                await happens_within(self._stale, LOOK_S - gap_s)

    async def _look(self) -> None:
        """Ask who serves what; go over to it when all who are new have been tried."""
        self._stale.clear()
        shares = await discover(self._url, self._whom_to_ask(), self._names)
        served = {self._node(*address): slots for address, slots in shares.items()}
        for node, slots in served.items():
            if not node.tag:
                node.tag = tag_within(slots)
        await asyncio.gather(*(node.pipeline.tried() for node in served))
        owners: list[Node | None] = [None] * SLOTS
        for node, slots in served.items():
            for slot in slots:
                owners[slot] = node
        self._owners, self._primaries = owners, tuple(served)
        missing = owners.count(None)
        self._unknown = StoreDown("other", f"no primary serves {missing} of {SLOTS} slots") if missing else None
        self._retire()

    def _whom_to_ask(self) -> list[Address]:
        """All servers that were ever of use, the well ones first: one that is frozen costs a whole timeout."""
        known = {*self._nodes, *self._url.hosts}
        down = {address for address, node in self._nodes.items() if node.pipeline.fault is not None}
        return sorted(known, key=lambda address: (address in down, address not in self._nodes, random.random()))  # noqa: S311

    def _node(self, host: str, port: int) -> Node:
        """The server at this address, on its way to being linked if it is new."""
        node = self._nodes.get((host, port))
        if node is None:
            node = self._nodes[host, port] = Node((host, port))
            node.pipeline = Pipeline(
                Dialer(replace(self._url, hosts=((host, port),)), self._known),
                timeout_s=self._timeout_s,
                prepare=self._prepare,
                probe=partial(self._prove, node),
                on_event=partial(self._hear, node),
                fault_of=cluster_fault_of,
            )
            node.pipeline.launch()
        return node

    async def _prove(self, node: Node, link: Link) -> None:
        """A server that says that the probe's slot has moved is well; which slots it has now we shall know soon."""
        try:
            await self._probe(link, node.tag)
        except Redirected:
            node.tag = ""
            self._stale.set()

    def _retire(self) -> None:
        """Let go of servers that serve nothing, when the answers on their way must have come."""
        idle_since = monotonic() - 2 * LOOK_S
        for address, node in [*self._nodes.items()]:
            if node not in self._primaries and node.used_at < idle_since:
                del self._nodes[address]
                task = asyncio.create_task(self._close_later(node), name="retired store link")
                self._retiring.add(task)
                task.add_done_callback(self._retiring.discard)

    async def _close_later(self, node: Node) -> None:
        try:
            await asyncio.sleep(self._timeout_s)
        finally:
            await node.pipeline.close()

    # -- what happens to links

    def _hear(self, node: Node, name: str, fields: Mapping[str, object]) -> None:
        if name == "store.script_reloaded":
            self._on_event(name, fields)
        elif node in self._primaries:
            if name == "store.degraded":
                self._stale.set()
            self._judge()
            if name == "store.refused":
                self._on_event(name, {**fields, "detail": f"{node.name}: {fields['detail']}"})

    def _judge(self) -> None:
        """Tell when the first thing went wrong, and when the last is well again."""
        fault = self.fault
        if fault is not None and self._down_since is None:
            self._down_since = monotonic()
            self._on_event("store.degraded", {"kind": fault.kind, "detail": fault.detail})
        elif fault is None and self._down_since is not None:
            self._on_event("store.recovered", {"down_s": round(monotonic() - self._down_since, 3)})
            self._down_since = None
        if fault is not None:
            self._note_lapses()

    def _note_lapses(self) -> None:
        """Behind the event: who asks since when, asks since then."""
        now_s, away = monotonic(), [None, *(node for node in self._primaries if node.pipeline.fault is not None)]
        self._lapsed_s |= {slot: now_s for slot, owner in enumerate(self._owners) if owner in away}
