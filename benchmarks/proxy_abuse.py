"""A worker under abuse, from outside: `python -m benchmarks.proxy_abuse [drain|slow|files ...]`.

drain  SIGTERM under 200 calls a second: no answer is cut
slow   500 slow heads and 500 slow bodies: each is closed in time, an honest caller does not notice
files  256 file descriptors, 1,000 sockets: no crash, no busy loop, and everything works again afterwards
"""

import asyncio
import contextlib
import sys
import time

from benchmarks.proxy_idle_sockets import hold, probe
from benchmarks.proxy_process import Gateway, Source, request


async def drain() -> bool:
    """Callers on kept-alive sockets and on fresh ones; what was begun must be answered whole."""
    async with Source() as source, Gateway(source.port, drain="delay: 1s, grace: 10s") as gateway:
        cut, done, refused = 0, 0, 0
        stopping = False

        async def caller(fresh: bool) -> None:
            nonlocal cut, done, refused
            reader = writer = None
            while not (stopping and writer is None and refused):
                if writer is None:
                    try:
                        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
                    except OSError:
                        refused += 1
                        return
                try:
                    writer.write(request("/20000"))
                    head = await reader.readuntil(b"\r\n\r\n")  # type: ignore[union-attr]
                    await reader.readexactly(20000)  # type: ignore[union-attr]
                    done += 1
                    close = fresh or b"Connection: close" in head
                except (ConnectionError, asyncio.IncompleteReadError):
                    cut += 1
                    close = True
                if close:
                    writer.close()
                    writer = None
                await asyncio.sleep(0.1)

        callers = [asyncio.create_task(caller(number % 2 == 0)) for number in range(20)]
        await asyncio.sleep(1.5)
        stopping = True
        code, seconds = await gateway.stop()
        await asyncio.wait(callers, timeout=5)
        for task in callers:
            task.cancel()
        print(f"SIGTERM under load: {done} answers, {cut} cut, exit code {code} after {seconds:.1f} s")
        return cut == 0 and code == 0 and done > 100


async def slow() -> bool:
    async with Source() as source, Gateway(source.port, bounds="header_time: 3s, body_time: 3s") as gateway:
        sent: list[float] = []

        async def dribble(first: bytes) -> float:
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            started = time.monotonic()
            writer.write(first)
            closed = asyncio.create_task(reader.read())
            while not closed.done():
                with contextlib.suppress(ConnectionError):
                    writer.write(b"x")
                await asyncio.wait((closed,), timeout=0.5)
            with contextlib.suppress(ConnectionError):
                closed.result()
            writer.close()
            return time.monotonic() - started

        head = b"GET / HTTP/1.1\r\nHost: a\r\nX: "
        body = request("/2", "Content-Length: 100000", method="POST")
        attack = [asyncio.create_task(dribble(first)) for first in (head, body) for _ in range(500)]
        while not all(task.done() for task in attack):
            sent += await probe(gateway, 20)
        times = sorted(task.result() for task in attack)
        sent.sort()
        p99 = sent[int(len(sent) * 0.99)]
        print(
            f"1,000 slow callers (limit 3 s): closed after {times[0]:.1f} to {times[-1]:.1f} s; honest p99 {p99:.1f} ms"
        )
        return times[-1] <= 5 and p99 <= 250


async def files() -> bool:
    async with Source() as source, Gateway(source.port, open_files=256) as gateway:
        await probe(gateway, 5)
        flood = [asyncio.create_task(hold(gateway, 1, b"")) for _ in range(1000)]
        await asyncio.wait(flood, timeout=10)
        cpu, started = gateway.cpu_s(), time.monotonic()
        await asyncio.sleep(3)
        busy = (gateway.cpu_s() - cpu) / (time.monotonic() - started) * 100
        for task in flood:
            if task.done() and not task.exception():
                for writer in task.result():
                    writer.transport.abort()
        started = time.monotonic()
        recovered = False
        while not recovered and time.monotonic() - started < 10:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, AssertionError):
                recovered = bool(await asyncio.wait_for(probe(gateway, 1), 5))
        after = time.monotonic() - started
        crashed = gateway.process is None or gateway.process.poll() is not None
        print(
            f"256 files, 1,000 sockets: crashed {crashed}, CPU {busy:.1f} % while full, again after {after:.2f} s, "
            f"stderr {len(gateway.errors())} bytes"
        )
        return not crashed and busy < 30 and recovered and after <= 2


SCENES = {"drain": drain, "slow": slow, "files": files}


async def main(names: list[str]) -> bool:
    return all([await SCENES[name]() for name in names or SCENES])


if __name__ == "__main__":
    raise SystemExit(0 if asyncio.run(main(sys.argv[1:])) else 1)
