"""What webhooks cost calls: `python -m benchmarks.webhooks [ROUNDS] [SECONDS]`.

Two gateways stand side by side; one tells six receivers of every change of a connection, one nobody. Each gets, at
the same time, 200 calls a second (open loop) while 500 connections are refused (401) and recover: a thousand events.
One receiver is good; the others hang, answer 500, redirect to a canary, answer after five seconds, never read. Prints
what the calls of both took; ends with 1 unless every event came to the good receiver, signed, nothing to the canary,
and what waits for the others is bounded and the rest counted. Needs a quiet machine: with both cores taken by others, a
process that does a little more gets its turn much later.
"""

import asyncio
import http.client
import json
import os
import re
import socket
import sys
import tempfile
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from time import monotonic, sleep

from aiohttp import web

from benchmarks import programs
from benchmarks.latency import CALLERS, RATE, calls_in_open_loop
from benchmarks.peers import gateway
from benchmarks.peers.shape import LIMITS, Place
from benchmarks.policy import everything_on
from benchmarks.programs import Failed, Program, free_port, get, running
from benchmarks.stage import DENIED, store, upstream
from gateway.core.webhooks.signatures import signed
from gateway.modules.hooks import LOOK_S

CONNECTIONS = 500
MOST_WAITING = 300
KEY = b"a secret of the benchmark"
SECRET = "whsec_" + b64encode(KEY).decode()
BAD = ("hang", "500", "redirect", "slow")
HOOKS = """admin: 127.0.0.1:{admin}
webhooks:
  allow: [127.0.0.0/8]
  most_waiting: {most}
  targets:
    good: {{url: "http://127.0.0.1:{receivers}/good", secrets: [env:HOOK_SECRET], concurrency: 16}}
    deaf: {{url: "http://127.0.0.1:{deaf}/", secrets: [env:HOOK_SECRET]}}
"""
TARGET = '    {name}: {{url: "http://127.0.0.1:{receivers}/{name}", secrets: [env:HOOK_SECRET]}}\n'


class Receivers:
    """In the process that is not measured. `arrived`: (connection, event) at the good one."""

    def __init__(self) -> None:
        self.arrived: set[tuple[str, str]] = set()
        self.unsigned = self.canary = 0

    async def handle(self, request: web.Request) -> web.Response:
        """Whatever the path says."""
        body = await request.read()
        if request.path == "/good":
            told, said = json.loads(body), request.headers
            self.unsigned += not signed(
                [KEY], said["webhook-id"], said["webhook-timestamp"], body, said["webhook-signature"]
            )
            self.arrived.add((told["connection"], told["type"]))
        elif request.path == "/hang":
            await asyncio.Event().wait()
        elif request.path == "/slow":
            await asyncio.sleep(5)
        elif request.path == "/redirect":
            raise web.HTTPFound("/canary")
        elif request.path == "/canary":
            self.canary += 1
        return web.Response(status=500 if request.path == "/500" else 204)


@contextmanager
def receiving() -> Iterator[tuple[Receivers, int]]:
    """They, and their port. In a thread of their own."""
    receivers, loop = Receivers(), asyncio.new_event_loop()
    runner = web.AppRunner(web.Application(), access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    runner.app.router.add_route("*", "/{path:.*}", receivers.handle)
    loop.run_until_complete(runner.setup())
    loop.run_until_complete(web.TCPSite(runner, "127.0.0.1", 0).start())
    thread = Thread(target=loop.run_forever)
    thread.start()
    yield receivers, runner.addresses[0][1]
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.run_until_complete(runner.cleanup())


@dataclass
class Flaps(Thread):
    """Connections that are refused and recover, within so many seconds."""

    port: int
    block: int
    seconds: float

    def __post_init__(self) -> None:
        super().__init__()

    def __hash__(self) -> int:
        return id(self)

    def run(self) -> None:
        """One connection after the other, twice."""
        link, began = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10), monotonic()
        for number in range(2 * CONNECTIONS):
            sleep(max(0.0, began + number * self.seconds / (2 * CONNECTIONS) - monotonic()))
            path = DENIED if number < CONNECTIONS else "/v1/items"
            name = f"f{self.block}-{number % CONNECTIONS}"
            link.request("GET", path, headers={"X-Tenant": "flaps", "X-Connection": name})
            link.getresponse().read()
        link.close()


@contextmanager
def standing(name: str, upstream_port: int, hooks: str) -> Iterator[tuple[Place, Program]]:
    """A gateway with these further settings."""
    with tempfile.TemporaryDirectory(prefix="gateway-bench-") as folder:
        place = Place(free_port(), upstream_port, free_port(), Path(folder), LIMITS["admitted"])
        with store(place.store_port):
            command = gateway.with_policy(everything_on)(place)
            settings = place.folder / "gateway.yaml"
            settings.write_text(settings.read_text().replace("admin: off\n", hooks or "admin: off\n"))
            up = lambda: get(place.port, "ready")[0] == 200  # noqa: E731
            with running(name, command, programs.PROXY_CORE, up, HOOK_SECRET=SECRET) as program:
                yield place, program


def block(place: Place, program: Program, number: int, seconds: float) -> dict[str, float]:
    """One gateway, called while connections flap. `cpu_ms`: of the gateway, in all."""
    before = program.cpu_us()
    flaps = Flaps(place.port, number, seconds)
    flaps.start()
    figures = calls_in_open_loop(place.port, RATE, CALLERS, seconds)
    flaps.join()
    return {**figures, "cpu_ms": (program.cpu_us() - before) / 1e3}


def expected(blocks: int) -> set[tuple[str, str]]:
    """What the good receiver is to be told."""
    names = [f"f{number}-{one}" for number in range(blocks) for one in range(CONNECTIONS)]
    return {(name, f"connection.{state}") for name in names for state in ("auth_required", "online")}


def judge(receivers: Receivers, admin: int, blocks: int) -> list[str]:
    """What is wrong. Waits until all is delivered, for a while."""
    end = monotonic() + 20
    while (missing := expected(blocks) - receivers.arrived) and monotonic() < end:
        sleep(0.1)
    text = scrape(admin)
    waiting = {name: total(text, "gateway_webhook_queue", name, 'state="waiting"') for name in (*BAD, "deaf")}
    dropped = {name: total(text, "gateway_webhook_dropped_total", name) for name in waiting}
    print(f"events {len(receivers.arrived)}  canary {receivers.canary}  waiting {waiting}  dropped {dropped}")
    wrong = [f"{len(missing)} events did not arrive"] * bool(missing)
    wrong += [f"{receivers.unsigned} were not signed"] * bool(receivers.unsigned)
    wrong += [f"the canary was asked {receivers.canary} times"] * bool(receivers.canary)
    wrong += [f"{name}: {count} wait" for name, count in waiting.items() if count > MOST_WAITING]
    wrong += [f"{name}: nothing dropped" for name, count in dropped.items() if not count]
    return wrong


def scrape(admin: int) -> str:
    """The gateway's metrics, when it has looked at its queues."""
    sleep(1.5 * LOOK_S)
    link = http.client.HTTPConnection("127.0.0.1", admin, timeout=10)
    link.request("GET", "/metrics")
    return link.getresponse().read().decode()


def total(metrics: str, name: str, receiver: str, label: str = "") -> float:
    """Of all series of this receiver."""
    series = re.findall(rf"^{name}{{(.*)}} (\S+)$", metrics, re.MULTILINE)
    return sum(float(value) for labels, value in series if f'receiver="{receiver}"' in labels and label in labels)


def main(rounds: int = 2, seconds: float = 12.0) -> int:
    """Measure, print, judge. Receivers, and whoever flaps, are on the core that is not the gateways'."""
    os.sched_setaffinity(0, {int(programs.OTHER_CORE)})
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor())
        receivers, port = stack.enter_context(receiving())
        deaf = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        admin, upstream_port = free_port(), free_port()
        stack.enter_context(upstream(upstream_port))
        hooks = HOOKS.format(admin=admin, most=MOST_WAITING, receivers=port, deaf=deaf.getsockname()[1])
        hooks += "".join(TARGET.format(name=name, receivers=port) for name in BAD)
        stands = {
            name: stack.enter_context(standing(name, upstream_port, more))
            for name, more in (("without", ""), ("with", hooks))
        }
        for number in range(rounds):
            begun = {name: pool.submit(block, *stand, number, seconds) for name, stand in stands.items()}
            said = {name: one.result() for name, one in begun.items()}
            for figure in ("p50_us", "p99_us", "late_p99_us", "cpu_ms"):
                before, after = said["without"][figure], said["with"][figure]
                change = f"{after - before:+9.0f}  x {after / before:.2f}"
                print(f"{number}  {figure:12} without {before:9.0f}  with {after:9.0f}  {change}", flush=True)
        wrong = judge(receivers, admin, rounds)
    print("\n".join(wrong) or "as promised")
    return 1 if wrong else 0


if __name__ == "__main__":
    try:
        raise SystemExit(main(*map(int, sys.argv[1:2]), *map(float, sys.argv[2:3])))
    except Failed as failed:
        raise SystemExit(str(failed)) from None
