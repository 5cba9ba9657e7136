"""A worker under abuse, from outside: `python -m benchmarks.proxy_abuse [SCENE ...]`.

drain        SIGTERM under 200 calls a second: no answer is cut
drain-now    the same with a drain delay of 0
files        256 file descriptors, 1,000 sockets: no crash, no busy loop, whoever was there before is served, and
             everything works again afterwards
files-plain  the same on asyncio's own event loop
"""

import asyncio
import contextlib
import sys
import time
from collections.abc import Sequence
from functools import partial

from benchmarks.proxy_idle_sockets import CALL, hold, probe
from benchmarks.proxy_process import Gateway, Source, request

REGULARS = 20
RESTS = 30.0  # per cent of a core, at most
SILENT_S = 120  # who is connected may say nothing for so long: on a busy host a flood lasts


async def drain(delay: str) -> bool:
    """Callers on kept-alive sockets and on fresh ones; what was begun must be answered whole."""
    async with Source() as source, Gateway(source.port, drain=f"delay: {delay}, grace: 10s") as gateway:
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
        for _ in range(300):
            if done > 100:
                break
            await asyncio.sleep(0.1)
        stopping = True
        code, seconds = await gateway.stop()
        await asyncio.wait(callers, timeout=5)
        for task in callers:
            task.cancel()
        print(f"SIGTERM under load, delay {delay}: {done} answers, {cut} cut, exit code {code} after {seconds:.1f} s")
        return cut == 0 and code == 0 and done > 100


async def files(plain_loop: bool) -> bool:
    """Those who are connected go on, and who comes when it is over finds room again."""
    limited = {"open_files": 256, "bounds": f"header_time: {SILENT_S}s"}
    async with Source() as source, Gateway(source.port, plain_loop=plain_loop, **limited) as gateway:
        regulars = [await asyncio.open_connection("127.0.0.1", gateway.port) for _ in range(REGULARS)]
        await call_on(regulars[:1])
        flood = [asyncio.create_task(hold(gateway, 1, b"")) for _ in range(1000)]
        await asyncio.wait(flood, timeout=10)
        served = await call_on(regulars)
        busy = await at_rest(gateway)
        for task in flood:
            if task.done() and not task.exception():
                for writer in task.result():
                    writer.transport.abort()
        for _, writer in regulars:
            writer.close()
        started = time.monotonic()
        recovered = await comes_back(gateway)
        after = time.monotonic() - started
        crashed = gateway.process is None or gateway.process.poll() is not None
        print(
            f"256 files, 1,000 sockets: crashed {crashed}, {served} of {REGULARS} regular callers served, "
            f"CPU {busy:.1f} % while full, again after {after:.2f} s, stderr {len(gateway.errors())} bytes"
        )
        return not crashed and served == REGULARS and busy < RESTS and recovered


async def call_on(connections: Sequence[tuple[asyncio.StreamReader, asyncio.StreamWriter]]) -> int:
    """How many of them are served, all asking at once."""

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(CALL)
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(2)
        return head.startswith(b"HTTP/1.1 200 ")

    answers = await asyncio.gather(*(one(*connection) for connection in connections), return_exceptions=True)
    return answers.count(True)


async def at_rest(gateway: Gateway) -> float:
    """Per cent of a core; measured again while it may still be at work on the flood: a loop that spins never rests."""
    for _ in range(5):
        cpu, started = gateway.cpu_s(), time.monotonic()
        await asyncio.sleep(2)
        busy = (gateway.cpu_s() - cpu) / (time.monotonic() - started) * 100
        if busy < RESTS:
            break
    return busy


async def comes_back(gateway: Gateway) -> bool:
    """Whether somebody new is served within ten seconds."""
    started = time.monotonic()
    while time.monotonic() - started < 10:
        with contextlib.suppress(OSError, EOFError, AssertionError):  # a TimeoutError is an OSError
            return bool(await asyncio.wait_for(probe(gateway, 1), 5))
    return False


SCENES = {
    "drain": partial(drain, "1s"),
    "drain-now": partial(drain, "0s"),
    "files": partial(files, False),
    "files-plain": partial(files, True),
}


async def main(names: list[str]) -> bool:
    return all([await SCENES[name]() for name in names or SCENES])


if __name__ == "__main__":
    raise SystemExit(0 if asyncio.run(main(sys.argv[1:])) else 1)
