"""All that a worker has to do with webhooks, joined together: off, and `open_hooks` is None, unless somebody asks."""

import asyncio
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from time import monotonic, time
from typing import Any

from gateway.core.http.timestamps import rfc3339
from gateway.core.webhooks.receivers import Receiver
from gateway.lasting import lasting
from gateway.modules.delivery.counts import LOSSES, Counts
from gateway.modules.delivery.courier import Compose, Courier
from gateway.modules.delivery.post import Post
from gateway.modules.intake import desk
from gateway.modules.webhooks import outbox
from gateway.names import KnownNames
from gateway.observe.log.logger import event, hear_events, hear_no_events
from gateway.observe.metrics.sink import Metrics
from gateway.settings import IntakeSettings, Settings, Webhooks
from gateway.store import StoreDown
from gateway.store.open import Scripted
from gateway.store.shared.queues import Again, Office, Standing, Which, open_queue_store
from gateway.waiting import end

LOOK_S, LOOK_SHARE = 5.0, 20
"""Between two looks at all queues; where there are many, so many times as long as a look takes."""
CLOSE_S = 2.0
OUT, IN = "out", "in"


class Queue:
    """One receiver's queue, as operators see it. `most`: letters that may wait."""

    def __init__(self, office: Office, courier: Courier, *, direction: str, most: int) -> None:
        self.name = courier.queue
        self.receiver = courier.receiver
        self.seen: Standing | None = None  # as it last stood, as far as this worker has looked
        self.direction = direction
        self.courier = courier
        self._office = office
        self._most = most

    async def show(self, *, tries: int = 0, dead: int = 0) -> Standing:
        """How the queue stands. Raises StoreDown."""
        self.seen = await self._office.show(self.name, tries=tries, dead=dead)
        return self.seen

    async def again(self, which: Which, *, id_: str = "", after: str = "-", to: str = "") -> Again:
        """Try letters again, as `Office.again`, and go on until all were looked at. Raises StoreDown."""
        moved, full = 0, False
        while after:
            found = await self._office.again(self.name, which, most=self._most, id_=id_, after=after, to=to)
            moved, full, after, to = moved + found.moved, full or found.full, found.after, found.to
            self.courier.wake()
        return found._replace(moved=moved, full=full)


class Hooks:
    """One worker's couriers, outbox and intake. Needs the running loop; nothing is started yet.

    levels  letters by (receiver, state), as old as LOOK_S; older while the store is away
    """

    def __init__(self, settings: Settings, store: Scripted, metrics: Metrics) -> None:
        self.counts = Counts()
        self.queues: dict[str, Queue] = {}
        self._posts: list[Post] = []
        self.levels: Mapping[tuple[str, str], int] = {}
        self._store = store
        self._instance = settings.name
        self._worker = f"{settings.name}-{os.getpid()}-{secrets.token_hex(4)}"
        self._looking: asyncio.Task[None] | None = None
        self.outbox = self._outbox(settings.webhooks, Office(store, OUT))
        self.intake = self._intake(settings.intake)
        metrics.follow("gateway_webhook_deliveries_total", self.counts.deliveries)
        metrics.follow("gateway_webhook_dropped_total", self.counts.dropped)
        if self.intake is not None:
            metrics.follow("gateway_intake_webhooks_total", self.intake.counts)

    async def start(self) -> None:
        """Hear events and deliver. A store that is down is waited for."""
        hear_events(self.outbox.hear)
        with suppress(StoreDown):
            await self._store.start()
        for queue in self.queues.values():
            queue.courier.start()
        self._looking = lasting("census of webhooks", self._look_on)

    async def close(self) -> None:
        """Put what is held into the store, end what is being tried. Idempotent."""
        hear_no_events(self.outbox.hear)
        await end(self._looking)
        await self.outbox.close()
        await asyncio.gather(*(queue.courier.close(CLOSE_S) for queue in self.queues.values()))
        await self._store.close()
        self.counts.tell()

    async def test(self, target: str) -> str:
        """Send this target an event made for it: its id; "" = its queue is full. Raises StoreDown."""
        line = {
            "timestamp": rfc3339(int(time() * 1e6)),
            "instance": self._instance,
            "message": "A test event: an operator wants to see whether it arrives",
        }
        return await self.outbox.test(target, line)

    def read_certificates(self) -> Sequence[Callable[[], None]]:
        """As `Trusting` has it: each `ca_file` of a receiver."""
        return [use for post in self._posts for use in post.read_certificates()]

    def wake(self, queues: Sequence[str]) -> None:
        """Wake the couriers of these queues: there is more to deliver."""
        for name in queues:
            self.queues[name].courier.wake()

    def _outbox(self, settings: Webhooks, office: Office) -> outbox.Outbox:
        for subscription in settings.targets:
            self._add(office, subscription.name, subscription.receiver, outbox.compose, OUT, settings.most_waiting)
        return outbox.Outbox(
            office, settings.targets, settings.most_waiting, on_stored=self.wake, on_dropped=self.counts.drop
        )

    def _intake(self, settings: IntakeSettings) -> desk.Intake | None:
        for source in settings.sources:
            for receiver in source.to:
                name, how = desk.queue_of(source, receiver.name), partial(desk.compose, source.name)
                self._add(self._inner(source.name), name, receiver, how, IN, source.most_waiting)
        if not settings.sources:
            return None
        return desk.Intake(f"{settings.path}/", settings.sources, self._inner, self.wake)

    def _inner(self, source: str) -> Office:
        return Office(self._store, f"{IN}.{source}")

    def _add(self, office: Office, name: str, receiver: Receiver, how: Compose, direction: str, most: int) -> None:
        post = Post(receiver)
        self._posts.append(post)
        courier = Courier(office, name, self._worker, receiver, post, how, self.counts)
        self.queues[name] = Queue(office, courier, direction=direction, most=most)
        self.counts.expect(name, LOSSES if direction == OUT else LOSSES[-1:])

    async def _look_on(self) -> None:
        while True:
            began_s = monotonic()
            with suppress(StoreDown):
                self.levels = await self._look()
            await asyncio.sleep(max(LOOK_S, LOOK_SHARE * (monotonic() - began_s)))

    async def _look(self) -> dict[tuple[str, str], int]:
        levels = {}
        for name, queue in self.queues.items():
            try:
                standing = await queue.show()
            except StoreDown as down:
                if down.kind == "script":  # in its place is something else; the others are queues
                    continue
                raise
            levels[name, "waiting"] = standing.waiting
            levels[name, "dead"] = standing.dead
        return levels


def open_hooks(settings: Settings, store_url: str, metrics: Metrics, known: KnownNames | None = None) -> Hooks | None:
    """What the settings ask for; None when that is nothing. store_url and known: as for `open_store`."""
    if not (settings.webhooks.targets or settings.intake.sources):
        return None
    store = open_queue_store(settings.store, store_url, known)
    if store is None:
        event("webhook.dropped", "Webhooks need a store", "error", reason="store_local")
        return None
    if settings.intake.sources and settings.store.url == "embedded":
        event("webhook.volatile", "Webhooks that wait end with the gateway", "warning", reason="store_embedded")
    return Hooks(settings, store, metrics)


def as_document(name: str, queue: Queue, standing: Standing) -> dict[str, Any]:
    """A queue, for people. `broken_document` has the same members."""
    return {
        "receiver": name,
        "direction": queue.direction,
        "waiting": standing.waiting,
        "trying": standing.trying,
        "retrying": standing.due,
        "dead": standing.dead,
        "kept": standing.kept,
        "oldest_s": standing.oldest_ms / 1000,
        "failures_in_a_row": standing.failures,
        "resting_s": standing.resting_ms / 1000,
    }


def broken_document(name: str, queue: Queue, why: str) -> dict[str, Any]:
    """Of a queue in whose place the store has something else."""
    members = ("waiting", "trying", "retrying", "dead", "kept", "oldest_s", "failures_in_a_row", "resting_s")
    return {"receiver": name, "direction": queue.direction, **dict.fromkeys(members), "error": why}
