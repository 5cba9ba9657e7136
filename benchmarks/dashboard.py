"""What open dashboards cost the gateway: `python -m benchmarks.dashboard`. About two minutes on two quiet cores.

One gateway under full load, with no page open, one and many, in turn. A page is what a browser holds open: the stream
of the overview and the feed, every other with a filter. What it costs per call, times 10,000, is its share of a core at
10,000 calls a second; at any rate it does the same work per second, so the share at the measured rate is told too.
"""

import asyncio
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from benchmarks import programs
from benchmarks.load import varied
from benchmarks.peers import gateway
from benchmarks.peers.shape import LIMITS, Place
from benchmarks.policy import everything_on
from benchmarks.stage import Sample, measure, standing, upstream

PAGES = (0, 1, 20)
ROUNDS, SECONDS = 7, 4.0
FEED = "/-/stream?per_s=10"
RATE = 10_000


@contextmanager
def watched(admin_port: int, pages: int) -> Iterator[None]:
    """So many pages are open."""
    command = ["taskset", "-c", programs.OTHER_CORE, sys.executable, "-m", "benchmarks.dashboard", str(admin_port)]
    reader = subprocess.Popen([*command, str(pages)], stdout=subprocess.PIPE)
    assert reader.stdout is not None
    reader.stdout.readline()
    try:
        yield
    finally:
        reader.kill()
        reader.wait()
        reader.stdout.close()


async def look(port: int, pages: int) -> None:
    """Read for ever; says so when something has come on every stream."""
    paths = [path for page in range(pages) for path in ("/live", FEED + "&limited=1" * (page % 2))]
    arrived = [asyncio.Event() for _ in paths]

    async def read(path: str, first: asyncio.Event) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        while await reader.read(1 << 16):
            first.set()

    reading = [asyncio.create_task(read(path, first)) for path, first in zip(paths, arrived, strict=True)]
    for first in arrived:
        await first.wait()
    print("looking", flush=True)
    await asyncio.gather(*reading)
    await asyncio.Event().wait()


def rounds() -> dict[int, list[Sample]]:
    """Samples by the number of open pages."""
    found: dict[int, list[Sample]] = {pages: [] for pages in PAGES}
    up_port, admin_port = programs.free_port(), programs.free_port()

    def command(place: Place) -> list[str]:
        started = gateway.with_policy(everything_on)(place)
        settings = place.folder / "gateway.yaml"
        settings.write_text(settings.read_text().replace("admin: off", f"admin: 127.0.0.1:{admin_port}"))
        return started

    peer = replace(gateway.PEER, command=command)
    with upstream(up_port), standing(peer, LIMITS["admitted"], up_port) as stand:
        for _ in range(ROUNDS):
            for pages in PAGES:
                with watched(admin_port, pages):
                    found[pages].append(measure(stand, varied(), SECONDS, tenants=100))
    return found


def main() -> None:
    """Print a row for each number of pages."""
    found = rounds()
    for pages in PAGES:
        beside = [one.cpu_us - none.cpu_us for one, none in zip(found[pages], found[0], strict=True)]
        extra_us, rate = statistics.median(beside), statistics.median(one.calls_per_s for one in found[pages])
        cpu_us = statistics.median(one.cpu_us for one in found[pages])
        print(
            f"{pages} pages: {cpu_us:.1f} us/call at {rate:,.0f} calls/s, "
            f"{extra_us:+.2f} us/call = {extra_us * RATE / 1e4:+.1f} % of a core at {RATE:,}"
        )


if __name__ == "__main__":
    if len(sys.argv) == 3:
        asyncio.run(look(int(sys.argv[1]), int(sys.argv[2])))
    else:
        main()
