"""Webhooks with everything going wrong: none that was acknowledged is lost, none unsigned gets in.

Some eight minutes for 100,000; `GATEWAY_TEST_WEBHOOKS=10000 pytest tests/chaos/test_webhooks.py` for fewer.

Providers send them over several sockets, some twice, out of order, some forged; whatever is not answered with 200 they send
again. Meanwhile gateways and the store are killed (SIGKILL), again and again. Services answer some with 500, and remember
ids, as they are told to.
"""

import asyncio
import os
import random
import time
from collections import Counter
from contextlib import suppress
from itertools import count
from pathlib import Path

import aiohttp
import pytest

from tests.chaos.conftest import Figures
from tests.conftest import StartServer
from tests.fakes.gateways import Process, start_gateway
from tests.fakes.provider import ECHO, KEY, SECRET, signed_fields
from tests.fakes.receiver import Got, receiving
from tests.fakes.redis_server import RedisServer
from tests.fakes.waiting import eventually, pause

WEBHOOKS = int(os.environ.get("GATEWAY_TEST_WEBHOOKS", "100000"))
SOCKETS, KEYS, FORGED_OF_100, TWICE_OF_100, FAILING_OF_1000 = 32, 1_000, 1, 10, 2
FAULT_EVERY_S, GATEWAYS = 8.0, 2
ENV = {"CRM": SECRET}
DURABLE = ("--appendonly", "yes", "--appendfsync", "always", "--save", "")
SOURCES = """
intake:
  sources:
    crm:
      verify: standard
      secrets: [env:CRM]
      most_waiting: 1000000
      order_by: header:x-key
      place: header:x-place
      to:
        sync: {url: "%s", timeout: 2s, concurrency: 64}
"""
PATIENCE_S = 120 + WEBHOOKS / 50


class Service:
    """Does each webhook's work once: it remembers ids."""

    def __init__(self) -> None:
        self.done: dict[str, str] = {}
        self.marks: dict[str, str] = {}
        self.places: dict[str, int] = {}
        self.again = self.backwards = self.forged = 0
        self.dice = random.Random(2)

    def answer(self, got: Got) -> int:
        if self.dice.randrange(1000) < FAILING_OF_1000:
            return 500
        headers = got.headers
        if got.id in self.done:
            self.again += 1
            return 200
        self.forged += got.id.startswith("forged")
        self.done[got.id] = headers["x-key"]
        self.marks[got.id] = headers.get("gateway-webhook-marks", "")
        before, place = self.places.get(headers["x-key"], -1), int(headers["x-place"])
        self.backwards += place < before
        self.places[headers["x-key"]] = max(before, place)
        return 200


class Provider:
    """Sends every webhook until it is acknowledged."""

    def __init__(self, gateways: list[Process]) -> None:
        self.gateways = gateways
        self.acknowledged: set[str] = set()
        self.answers: Counter[int] = Counter()
        self.numbers = iter(range(WEBHOOKS))
        self.dice = random.Random(1)

    async def send(self) -> None:
        """Over one socket."""
        async with aiohttp.ClientSession() as session:
            for number in self.numbers:
                dice = self.dice.randrange(100)
                if dice < FORGED_OF_100:
                    await self.post(session, f"forged-{number}", number, key=b"x" * 24)
                id_ = f"m-{number}"
                for _ in range(2 if dice < TWICE_OF_100 else 1):
                    while await self.post(session, id_, number) != 200:
                        await pause(0.1, "a provider that tries again rather soon")
                    self.acknowledged.add(id_)

    async def post(self, session: aiohttp.ClientSession, id_: str, number: int, key: bytes = KEY) -> int:
        body = b'{"n": %d}' % number
        place = number // KEYS + self.dice.randrange(3)  # some are sent before others that come first
        fields = signed_fields(id_, body, key=key) | {"x-key": str(number % KEYS), "x-place": str(place)}
        url = f"{self.dice.choice(self.gateways).url}/hooks/crm"
        status = 0
        with suppress(aiohttp.ClientError, OSError, TimeoutError):
            async with session.post(url, data=body, headers=fields, timeout=aiohttp.ClientTimeout(10)) as answer:
                await answer.read()
                status = answer.status
        self.answers[status] += 1
        return status


class Faults:
    """Kills a gateway, then the store, and so on; what is killed is started again."""

    def __init__(self, folder: Path, url: str, server: RedisServer) -> None:
        self.gateways: list[Process] = []
        self.killed: Counter[str] = Counter()
        self._folder = folder
        self._url = url
        self._server = server
        self._numbers = count()

    async def one_more(self) -> Process:
        name = f"gw-{next(self._numbers)}"
        more = SOURCES % self._url
        return await start_gateway(
            self._folder / name, ECHO, store=self._server.url, name=name, env=ENV, more=more, patience="1s"
        )

    async def go_on(self) -> None:
        while True:
            await pause(FAULT_EVERY_S, "all is well between two faults")
            self._server.kill()
            self.killed["store"] += 1
            await pause(0.5, "the store is away")
            self._server.spawn()
            await asyncio.to_thread(self._server.wait_until_it_answers)
            await pause(FAULT_EVERY_S, "all is well between two faults")
            victim = self.gateways.pop(0)
            await victim.kill()
            self.killed["gateway"] += 1
            self.gateways.append(await self.one_more())


@pytest.mark.timeout(PATIENCE_S)
async def test_no_acknowledged_webhook_is_lost(
    tmp_path: Path, start_redis_server: StartServer, figures: Figures
) -> None:
    server, service = start_redis_server(*DURABLE), Service()
    async with receiving() as receiver:
        receiver.answer, receiver.keep = service.answer, False
        faults = Faults(tmp_path, receiver.url, server)
        try:
            faults.gateways += [await faults.one_more() for _ in range(GATEWAYS)]
            provider = Provider(faults.gateways)
            breaking = asyncio.create_task(faults.go_on())
            began = time.monotonic()
            await asyncio.gather(*(provider.send() for _ in range(SOCKETS)))
            sent_s = time.monotonic() - began
            breaking.cancel()
            await asyncio.wait((breaking,))
            if server.running is False:
                server.start()
            await eventually(lambda: provider.acknowledged <= service.done.keys(), gap_s=0.5, within_s=PATIENCE_S)
            figures(
                "webhooks, gateways and the store killed",
                acknowledged=len(provider.acknowledged),
                seconds_to_send=sent_s,
                seconds_to_deliver=time.monotonic() - began,
                delivered_again=service.again,
                answers=dict(provider.answers),
                killed=dict(faults.killed),
            )
        finally:
            for gateway in faults.gateways:
                await gateway.end()
    assert len(provider.acknowledged) == WEBHOOKS
    assert service.done.keys() == provider.acknowledged
    assert service.forged == 0
    assert provider.answers[401] > 0
    marked = [mark for mark in service.marks.values() if "out-of-order" in mark]
    assert len(marked) >= service.backwards > 0, "what came behind a newer one says so"
