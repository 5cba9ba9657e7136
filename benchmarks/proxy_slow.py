"""Slow callers, and an honest one beside them: `python -m benchmarks.proxy_slow [heads|bodies|readers ...]`.

heads    500 send a request's head byte by byte (slowhttptest -H)
bodies   500 send its body like that (-B)
readers  500 ask for 1 MiB ten times and take a few bytes now and then, with a small window (-X)

Each has to be gone 2 s after its limit of 3 s, and honest calls must neither fail nor take longer than 250 ms (p99).
"""

import asyncio
import contextlib
import socket
import sys
import time
from collections.abc import Callable, Coroutine
from typing import NamedTuple

from benchmarks.proxy_idle_sockets import probe
from benchmarks.proxy_process import MIB, Gateway, Source, request

COUNT = 500
LIMIT_S = 3
PAUSE_S = 0.25
HONEST_PAUSE_S = 0.05  # after ten calls: some 200 a second

HEAD = b"GET / HTTP/1.1\r\nHost: a\r\nX: "
BODY = request("/2", "Content-Length: 100000", method="POST")
ANSWERS = request(f"/{MIB}") * 10


class Attack(NamedTuple):
    """What honest callers saw meanwhile (milliseconds, sorted), how long each attacker lasted, how the gateway grew."""

    honest_ms: list[float]
    lasted_s: list[float]
    growth: int

    @property
    def p99_ms(self) -> float:
        return self.honest_ms[int(len(self.honest_ms) * 0.99)]


async def send_slowly(gateway: Gateway, first: bytes) -> float:
    """One byte after the other, until the socket is closed: how many seconds that took."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    started = time.monotonic()
    writer.write(first)
    closed = asyncio.create_task(reader.read())
    while not closed.done():
        with contextlib.suppress(ConnectionError):
            writer.write(b"x")
        await asyncio.wait((closed,), timeout=PAUSE_S)
    with contextlib.suppress(ConnectionError):
        closed.result()
    writer.close()
    return time.monotonic() - started


async def read_slowly(gateway: Gateway) -> float:
    """Thirty-two bytes after the other, until the socket is reset: how many seconds after the first of them.

    What has arrived could still be read after the reset.
    """
    loop = asyncio.get_running_loop()
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        await loop.sock_connect(sock, ("127.0.0.1", gateway.port))
        await loop.sock_sendall(sock, ANSWERS)
        await loop.sock_recv(sock, 32)
        started = time.monotonic()
        while not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            await loop.sock_recv(sock, 32)
            await asyncio.sleep(PAUSE_S)
        return time.monotonic() - started


ATTACKS: dict[str, Callable[[Gateway], Coroutine[None, None, float]]] = {
    "heads": lambda gateway: send_slowly(gateway, HEAD),
    "bodies": lambda gateway: send_slowly(gateway, BODY),
    "readers": read_slowly,
}


async def attack(name: str, count: int, limit_s: int) -> Attack:
    """Run it until the last attacker is gone. Raises AssertionError when an honest call is not answered well."""
    bounds = f"header_time: {limit_s}s, body_time: {limit_s}s"
    async with Source() as source, Gateway(source.port, bounds=bounds) as gateway:
        honest = await probe(gateway, 20)
        before = gateway.rss_bytes()
        attackers = [asyncio.create_task(ATTACKS[name](gateway)) for _ in range(count)]
        while not all(task.done() for task in attackers):
            honest += await probe(gateway, 10)
            await asyncio.sleep(HONEST_PAUSE_S)
        growth = gateway.rss_bytes("VmHWM") - before
    return Attack(sorted(honest), sorted(task.result() for task in attackers), growth)


async def main(names: list[str]) -> bool:
    good = True
    for name in names or ATTACKS:
        seen = await attack(name, COUNT, LIMIT_S)
        good = good and seen.lasted_s[-1] <= LIMIT_S + 2 and seen.p99_ms <= 250
        print(
            f"{COUNT} slow {name} (limit {LIMIT_S} s): gone after {seen.lasted_s[0]:.1f} to {seen.lasted_s[-1]:.1f} s, "
            f"RSS +{seen.growth / MIB:.0f} MiB; {len(seen.honest_ms)} honest calls, p99 {seen.p99_ms:.1f} ms"
        )
    return good


if __name__ == "__main__":
    raise SystemExit(0 if asyncio.run(main(sys.argv[1:])) else 1)
