"""Memory of one worker under large bodies and slow callers: `python -m benchmarks.proxy_memory [--small]`.

1 GiB down, 1 GiB up, 200 callers who each take 64 MiB slowly for ten seconds, and an upstream that takes as much from
each of 200. `--small` does a sixteenth of it.
"""

import argparse
import asyncio

from benchmarks.proxy_process import MIB, PIECE, Gateway, Source, request, take


async def download(gateway: Gateway, size: int, slow_s: float = 0.0) -> int:
    """How many bytes came; for the first `slow_s` seconds they are taken slowly."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port, limit=2**16)
    writer.write(request(f"/{size}"))
    await reader.readuntil(b"\r\n\r\n")
    got = await take(reader, size, slow_s)
    writer.close()
    return got


async def upload(gateway: Gateway, size: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(request("/2", f"Content-Length: {size}", method="POST"))
    for _ in range(size // len(PIECE)):
        writer.write(PIECE)
        await writer.drain()
    answer = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    return answer.split(b" ", 2)[1]


async def measure(scale: int) -> bool:
    good = True

    def tell(what: str, growth: int, bound: int, complete: bool) -> None:
        nonlocal good
        good = good and complete and growth <= bound
        print(f"{what:34} RSS +{growth / MIB:6.1f} MiB (bound {bound / MIB:.0f})  complete: {complete}", flush=True)

    size = 1024 * MIB // scale
    for name in ("download", "upload"):
        async with Source() as source, Gateway(source.port) as gateway:
            await download(gateway, MIB)
            before = gateway.rss_bytes()
            if name == "download":
                complete = await download(gateway, size) == size
            else:
                complete = await upload(gateway, size) == b"200" and source.taken_bytes == size
            tell(f"{size // MIB} MiB {name}", gateway.rss_bytes("VmHWM") - before, 32 * MIB, complete)
    callers, size, slow_s = 200, 64 * MIB // scale, 10.0 if scale == 1 else 2.0
    bound = 64 * MIB + callers * MIB // 4
    async with Source() as source, Gateway(source.port) as gateway:
        await download(gateway, MIB)
        before = gateway.rss_bytes()
        got = await asyncio.gather(*(download(gateway, size, slow_s) for _ in range(callers)))
        what = f"{callers} slow callers of {size // MIB} MiB"
        tell(what, gateway.rss_bytes("VmHWM") - before, bound, got == [size] * callers)
    async with Source(slow_s) as source, Gateway(source.port, bounds="body_time: 10m") as gateway:
        await download(gateway, MIB)
        before = gateway.rss_bytes()
        answers = await asyncio.gather(*(upload(gateway, size) for _ in range(callers)))
        what = f"{callers} uploads of {size // MIB} MiB, taken slowly"
        tell(what, gateway.rss_bytes("VmHWM") - before, bound, answers == [b"200"] * callers)
    return good


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true")
    raise SystemExit(0 if asyncio.run(measure(16 if parser.parse_args().small else 1)) else 1)
