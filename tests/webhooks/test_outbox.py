"""Events on their way into queues: who gets which, what is held while the store is away, what is lost and told."""

import json
import re
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from gateway.core.webhooks.receivers import Receiver, Subscription
from gateway.modules.webhooks.outbox import Outbox, compose
from gateway.store import StoreDown
from gateway.store.shared.queues import Appended, Letter, Office, Taken
from tests.fakes.redis_server import RedisServer

PAGE = Path(__file__).parents[2] / "docs" / "webhooks.md"
SUBSCRIPTIONS = (
    Subscription(Receiver("all", "https://a")),
    Subscription(Receiver("some", "https://b"), ("connection.*",), ("crm-*",)),
)
ENVELOPE = {
    "timestamp": "2026-11-21T14:23:33.120Z",
    "level": "warning",
    "message": "Connection is offline",
    "schema": "1",
    "service_name": "ratelimit-gateway",
    "service_version": "0",
    "instance": "gateway",
    "worker": 0,
}


def line(name: str, **fields: object) -> dict[str, Any]:
    return {**ENVELOPE, "event_name": name, **fields}


class Heard:
    """What an outbox told."""

    def __init__(self) -> None:
        self.stored: list[str] = []
        self.dropped: list[tuple[str, str]] = []

    def on_stored(self, queues: Sequence[str]) -> None:
        self.stored += queues

    def on_dropped(self, receiver: str, reason: str) -> None:
        self.dropped.append((receiver, reason))


class Away:
    """An office whose store is away for so many tries."""

    def __init__(self, office: Office, tries: int) -> None:
        self.office, self.tries = office, tries

    async def append(self, letter: Letter, queues: Sequence[str], **more: Any) -> Appended:
        self.tries -= 1
        if self.tries >= 0:
            raise StoreDown("connect")
        return await self.office.append(letter, queues, **more)


@pytest.fixture
def heard() -> Heard:
    return Heard()


def outbox(office: Any, heard: Heard, most_waiting: int = 100, **more: int) -> Outbox:
    return Outbox(office, SUBSCRIPTIONS, most_waiting, on_stored=heard.on_stored, on_dropped=heard.on_dropped, **more)


@pytest.fixture
async def box(office: Office, heard: Heard) -> AsyncIterator[Outbox]:
    one = outbox(office, heard)
    yield one
    await one.close(grace_s=20)


async def take(office: Office, queue: str) -> list[Taken]:
    return (await office.take(queue, "w", 100, concurrency=100, lease_ms=10_000))[1]


async def test_everybody_gets_what_they_subscribed_to(office: Office, heard: Heard, box: Outbox) -> None:
    box.hear(line("connection.offline", connection="crm-1"))
    box.hear(line("connection.offline", connection="erp-1"))
    box.hear(line("breaker.opened"))
    box.hear(line("gateway.ready"))
    box.hear(line("webhook.test"))
    await box.close(grace_s=20)
    told = {name: [json.loads(one.body)["type"] for one in await take(office, name)] for name in ("all", "some")}
    assert told == {"all": ["connection.offline"] * 2 + ["breaker.opened"], "some": ["connection.offline"]}
    assert heard.stored == ["all", "some", "all", "all"]


async def test_the_page_shows_what_arrives(office: Office, box: Outbox) -> None:
    fields = {"connection": "crm-7", "tenant": "acme", "state_before": "online"}
    for _ in range(12):
        box.hear(line("connection.offline", **fields))
    await box.close(grace_s=20)
    arrived = [compose(one) for one in await take(office, "all")]
    found = re.search(r"```json\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    shown = json.loads(found[1])
    last = json.loads(arrived[-1][0])
    assert re.fullmatch("evt_[0-9a-f]{24}", last["id"])
    assert re.fullmatch("evt_[0-9a-f]{24}", shown["id"])
    assert {**last, "id": ""} == {**shown, "id": ""}
    assert arrived[-1][1] == {"Content-Type": "application/json"}


async def test_what_happens_while_the_store_is_away_is_told_later_in_order(
    office: Office, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.modules.webhooks.outbox.AGAIN_S", 0)
    box = outbox(Away(office, 3), heard)
    for number in range(3):
        box.hear(line("store.degraded", number=number))
    await box.close(grace_s=20)
    told = [json.loads(one.body)["data"]["number"] for one in await take(office, "all")]
    assert told == [0, 1, 2]
    assert heard.dropped == []


async def test_what_is_too_much_to_hold_is_counted(office: Office, heard: Heard) -> None:
    box = outbox(Away(office, 10**9), heard, most_held=2)
    for _ in range(3):
        box.hear(line("store.degraded"))
    assert heard.dropped == [("all", "store_away")]
    await box.close(grace_s=0)
    assert heard.dropped == [("all", "store_away"), *[("all", "gateway_ended")] * 2]


async def test_a_full_queue_loses_for_its_receiver_only(office: Office, heard: Heard) -> None:
    box = outbox(office, heard, most_waiting=1)
    box.hear(line("breaker.opened"))
    box.hear(line("connection.offline", connection="crm-1"))
    await box.close(grace_s=20)
    assert heard.dropped == [("all", "queue_full")]
    assert len(await take(office, "some")) == 1


async def test_a_test_goes_to_one_receiver_whatever_it_wants(office: Office, box: Outbox) -> None:
    id_ = await box.test("some", {**ENVELOPE, "reason": "somebody asked"})
    (one,) = await take(office, "some")
    assert (one.id, json.loads(one.body)["type"]) == (id_, "webhook.test")
    assert await take(office, "all") == []


async def test_a_test_that_finds_no_room_has_no_id(office: Office, heard: Heard, redis_server: RedisServer) -> None:
    box = outbox(office, heard, most_waiting=1)
    assert await box.test("some", ENVELOPE)
    assert await box.test("some", ENVELOPE) == ""
    redis_server.command("SET", f"gw:queue:{{{office.name}}}:to:all", "something else")
    with pytest.raises(StoreDown, match="all is no queue"):
        await box.test("all", ENVELOPE)


async def test_what_is_no_queue_in_the_store_holds_up_nobody_else(
    office: Office, heard: Heard, redis_server: RedisServer
) -> None:
    """Nor does a count that is none: of that connection it begins anew."""
    base = f"gw:queue:{{{office.name}}}"
    redis_server.command("SET", f"{base}:to:all", "something else")
    redis_server.command("SET", f"{base}:sequence:crm-2", "no number")
    redis_server.command("LPUSH", f"{base}:sequence:crm-1", "no number")
    box = outbox(office, heard)
    for connection in ("crm-1", "crm-2"):
        box.hear(line("connection.offline", connection=connection))
    await box.close(grace_s=20)
    assert heard.dropped == [("all", "queue_broken")] * 2
    assert [one.sequence for one in await take(office, "some")] == [1, 1]


@pytest.mark.parametrize("body", [b"[]", b"1", b"no JSON"])
def test_what_is_no_event_is_not_composed(body: bytes) -> None:
    with pytest.raises(ValueError):
        compose(Taken("1-0", 1, 0, "x", "", 1, "", {}, body))
