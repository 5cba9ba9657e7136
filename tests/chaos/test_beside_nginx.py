"""The first example of docs/migration.md beside the nginx that it starts from: same traffic, same outcomes. Needs nginx."""

import asyncio
import os
import shutil
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from tests.chaos.conftest import Fleet
from tests.docs.pages import ROOT, blocks
from tests.fakes.ports import free_port
from tests.fakes.upstream import Received, Socket, Upstream
from tests.fakes.waiting import eventually, pause

EXAMPLE = {
    one.kind: one.text for one in reversed(blocks(ROOT / "docs" / "migration.md")) if one.kind in ("nginx", "yaml")
}
BACKEND = "http://backend:9000"
MAIN = (
    "daemon off; pid {folder}/pid; error_log {folder}/log; events {{}}\nhttp {{ access_log off; {temporary}\n{text}}}"
)
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
AT_ONCE, BURST, A_SECOND = 8, 21, 10
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@asynccontextmanager
async def nginx(folder: Path, upstream: Upstream) -> AsyncIterator[str]:
    """The example's, with an address to listen on and one to send to. Its URL."""
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program is not None, "nginx is missing (Debian: apt-get install nginx-light)"
    port = free_port()
    text = EXAMPLE["nginx"].replace(BACKEND, upstream.url).replace("server {", f"server {{ listen 127.0.0.1:{port};")
    temporary = " ".join(f"{name}_temp_path {folder}/{name};" for name in TEMPORARY)
    (folder / "nginx.conf").write_text(MAIN.format(folder=folder, temporary=temporary, text=text))
    process = await asyncio.create_subprocess_exec(program, "-c", folder / "nginx.conf", "-p", folder, "-e", "stderr")

    async def listens() -> bool:
        assert process.returncode is None, (folder / "log").read_text()
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
        return True

    try:
        await eventually(listens)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


@pytest.mark.parametrize("proxy", ["nginx", "gateway"])
async def test_both_do_as_the_page_says(proxy: str, fleet: Fleet, tmp_path: Path) -> None:
    held = asyncio.Event()

    async def answer(request: Received, _socket: Socket) -> bytes:
        if request.target == "/held":
            await held.wait()
        return OK

    async with Upstream(answer) as upstream, aiohttp.ClientSession() as session:

        async def call(url: str) -> int:
            async with session.get(url) as found:
                await found.read()
                return found.status

        async def meets_the_same(url: str) -> None:
            calls = [asyncio.create_task(call(f"{url}/api/held")) for _ in range(12)]
            await eventually(lambda: sum(one.done() for one in calls) + len(upstream.received) == len(calls))
            held.set()
            assert Counter(await asyncio.gather(*calls))[200] == AT_ONCE
            await pause((BURST + 1) / A_SECOND, "the bucket is full again")
            began = time.monotonic()
            statuses = [await call(f"{url}/api/users/7?page=2") for _ in range(2 * BURST)]
            lasted_s = time.monotonic() - began
            assert statuses[:BURST] == [200] * BURST
            assert statuses.count(200) <= BURST + 1 + lasted_s * A_SECOND
            assert set(statuses[BURST:]) <= {200, 429}
            last = upstream.received[-1]
            assert (last.target, last.fields("Host")) == ("/users/7?page=2", [upstream.url.removeprefix("http://")])
            assert await call(f"{url}/apis") in (403, 404), "the location ends with a slash"

        if proxy == "nginx":
            async with nginx(tmp_path, upstream) as url:
                await meets_the_same(url)
        else:
            await meets_the_same((await fleet(EXAMPLE["yaml"].replace(BACKEND, upstream.url))).url)
