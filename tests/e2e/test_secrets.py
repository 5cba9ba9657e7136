"""A run with credentials in every place and errors on every path, at debug level: afterwards nothing that the gateway
wrote holds any of them: log, standard output and error, metrics, admin answers, its own answers, `gateway check`."""

import asyncio
import base64
import os
import signal
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import jwt
import trustme

from gateway.core.access.authentication import hash_text
from tests.conftest import StartServer
from tests.fakes.issuer import claims
from tests.fakes.ports import free_port
from tests.fakes.upstream import Received, Socket, Upstream
from tests.fakes.waiting import eventually

NEEDLE = "s3cr3t"
STORE, OTHER_STORE = f"{NEEDLE}-store-%2Fpassword", f"{NEEDLE}-other-store"
ADMIN = f"{NEEDLE}-admin-token-0123456789"
API_KEY = f"gk_{NEEDLE}_0123456789abcdefghij"
JWT_SECRET = f"{NEEDLE}-jwt-0123456789abcdef0123456789abcdef"
PEPPER = f"{NEEDLE}-pepper-0123456789"
BASIC = base64.b64encode(f"user:{NEEDLE}-basic".encode()).decode()
TOKEN = jwt.encode(claims(), JWT_SECRET, "HS256")
FORGED = jwt.encode(claims(sub=f"{NEEDLE}-subject"), "another secret of at least 32 bytes", "HS256")
NEEDLES = (NEEDLE, BASIC, TOKEN, TOKEN.rpartition(".")[2], FORGED, FORGED.split(".")[1])

POLICIES = """
version: 1
authentication:
  partners:
    type: api_keys
    pepper: "env:PEPPER"
    keys: [{id: acme-1, hash: "%(hash)s", claims: {organization: acme}}]
  staff: {type: jwt, issuer: "https://issuer.example/", audience: orders-api, algorithms: [HS256], secret: "env:JWT_SECRET"}
keys:
  tenant: {from: api_key, name: X-Api-Key, on_missing: skip}
  account: {from: header, name: Authorization, on_missing: skip}
  connection: {from: query, name: access_token, on_missing: skip}
  organization: {from: api_key_entry, on_missing: skip}
  cookie: {from: header, name: Cookie, on_missing: skip}
limits:
  tenant: {algorithm: rolling_window, limit: 5, window: 10m, key: [tenant]}
  account: {algorithm: rolling_window, limit: 50, window: 10m, key: [account]}
  connection: {algorithm: token_bucket, rate: 50, per: 10m, key: [connection, cookie]}
  organization: {algorithm: concurrency, limit: 50, key: [organization]}
  strict: {algorithm: fixed_window, limit: 1000, window: 10m, key: [], on_store_error: deny}
upstreams:
  up: {url: "%(up)s"}
  refused: {url: "http://127.0.0.1:%(closed)d/base"}
  tls: {url: "https://localhost:%(tls)d"}
  plain: {url: "https://127.0.0.1:%(plain)d"}
  unknown: {url: "http://nowhere.invalid"}
routes:
  - {name: up, match: {path_prefix: /}, upstream: up, limits: [tenant, account, connection]}
  - {name: strict, match: {path_prefix: /strict/}, upstream: up, limits: [strict]}
  - {name: partners, match: {path_prefix: /partners/}, upstream: up, authenticate: [partners], limits: [organization]}
  - {name: staff, match: {path_prefix: /staff/}, upstream: up, authenticate: [staff], require: {scope: nothing}}
  - {name: refused, match: {path_prefix: /refused/}, upstream: refused}
  - {name: tls, match: {path_prefix: /tls/}, upstream: tls}
  - {name: plain, match: {path_prefix: /plain/}, upstream: plain}
  - {name: unknown, match: {path_prefix: /unknown/}, upstream: unknown}
"""
SETTINGS = """
version: 1
listen: 127.0.0.1:%(port)d
admin: 127.0.0.1:%(admin)d
admin_token: "env:ADMIN_TOKEN"
policies: policies.yaml
store: {url: "env:STORE_URL", timeout: 500ms}
headers: {proxy_status: always, server_timing: true}
bounds: {header_bytes: 16KiB, body_bytes: 1KiB}
logging: {access: "%(log)s", connection_errors: "%(log)s", level: debug, redact: []}
drain: {delay: 10ms, grace: 2s}
"""
CRASHING = """
import gateway.handle as handle

identify = handle.identify

async def crash(call):
    if call.target.startswith("/crash"):
        {}.get(str(call.request.head.headers["Authorization"])) or int(call.request.head.headers["X-Api-Key"])
    return await identify(call)

handle.identify = crash
"""
"""Run by the interpreter of the gateway as it starts: a defect that names what it choked on."""

LINES = (
    f"Authorization: Bearer {TOKEN}",
    f"Cookie: sid={NEEDLE}-cookie; a=b",
    f"X-Api-Key: {API_KEY}",
    f"X-Auth-Token: {NEEDLE}-token",
    f"X-Hub-Signature-256: sha256={NEEDLE}",
    f"X-Webhook-Secret: {NEEDLE}",
    f"Stripe-Signature: t=1,v1={NEEDLE}",
    f"Proxy-Authorization: Basic {BASIC}",
    f"Referer: https://user:{NEEDLE}@shop.example/?session={NEEDLE}#{NEEDLE}",
)
QUERY = (
    f"token={NEEDLE}&api_key={NEEDLE}&password={NEEDLE};sig={NEEDLE}&X-Amz-Signature={NEEDLE}&code={NEEDLE}"
    f"&access_token={NEEDLE}&next=https%3A%2F%2Fu%3A{NEEDLE}%40h%2F%3Fkey%3D{NEEDLE}&jwt={TOKEN}"
)


def request(path: str, *lines: str, method: str = "GET", host: str = "a", body: str = "") -> bytes:
    end = (f"Content-Length: {len(body)}", "", body) if body else ("", "")
    return "\r\n".join((f"{method} {path} HTTP/1.1", f"Host: {host}", *lines, *end)).encode("latin-1")


ORDINARY = [
    request(f"/x?{QUERY}", *LINES),
    request(f"/x?{QUERY}", f"Authorization: Basic {BASIC}", *LINES[1:]),
    request("/strict/x", *LINES),
    request("/partners/x", *LINES),
    request("/partners/x", f"X-Api-Key: {NEEDLE}-unknown"),
    request("/staff/x", *LINES),
    request("/staff/x", f"Authorization: Bearer {FORGED}"),
    request("/x", LINES[0], *LINES),  # who is calling, said twice
    request(f"/x?access_token={NEEDLE};access_token={NEEDLE}"),
    *[
        request(f"/{name}/x?{QUERY}", *LINES)
        for name in ("refused", "tls", "plain", "unknown", "crash", "reset", "odd")
    ],
    request(f"/upload?{QUERY}", *LINES, method="POST", body=f"password={NEEDLE}" * 100),
    request(f"http://user:{NEEDLE}@a/x", *LINES),
    request("/x", *LINES, host=f"user:{NEEDLE}@a"),
    request("/x", *LINES, f"X-Long: {NEEDLE * 4000}"),
    request("/x", *LINES, f"X-Bad: {NEEDLE}\x00"),
    request(f"/x?token={NEEDLE} y", *LINES),
    request("/x", *LINES, f"Expect: {NEEDLE}"),
    request("/x", *LINES, f"Transfer-Encoding: {NEEDLE}"),
    request("/x", *LINES, f"Content-Length: {NEEDLE}"),
    request("/x", f"Authorization : Bearer {NEEDLE}"),
    request(f"/../x?token={NEEDLE}", *LINES),
]
"""In every place, on every path that ends in an answer of ours."""


async def answering(got: Received, socket: Socket) -> bytes | None:
    """An upstream that talks of secrets too, and breaks in several ways."""
    if got.target.startswith("/reset"):
        await socket.send(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n")
        socket.reset()
        return None
    if got.target.startswith("/odd"):
        return f"HTTP/1.1 200 OK\r\nSet-Cookie : sid={NEEDLE}\r\nContent-Length: {NEEDLE}\r\n\r\n".encode()
    return b"HTTP/1.1 204 No Content\r\n\r\n"


@dataclass
class Gateway:
    """A running gateway process, and everything it ever said."""

    folder: Path
    process: asyncio.subprocess.Process
    port: int
    admin_port: int
    answers: list[bytes] = field(default_factory=list)

    async def ask(self, raw: bytes, *, admin: bool = False) -> int:
        """The status of the answer, which is kept."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.admin_port if admin else self.port)
        writer.write(raw)
        answer = await reader.readuntil(b"\r\n\r\n")
        length = answer.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]
        if not answer.startswith(b"HTTP/1.1 204") and int(length or 0) < 99 * 1024:
            answer += await reader.read(int(length or 0))
        writer.close()
        self.answers.append(answer)
        return int(answer.split(b" ", 2)[1])

    def everything(self) -> bytes:
        """What it wrote, wherever."""
        files = [path.read_bytes() for path in self.folder.glob("*.out")]
        return b"\n".join([*files, *self.answers])


Launch = Callable[..., Awaitable[Gateway]]


def environment(folder: Path, store: str) -> dict[str, str]:
    """Where the secrets come from."""
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join((str(folder), str(Path(__file__).parents[2]))),
        "ADMIN_TOKEN": ADMIN,
        "STORE_URL": store,
        "PEPPER": PEPPER,
        "JWT_SECRET": JWT_SECRET,
    }


@asynccontextmanager
async def running(folder: Path, policies: str, store: str) -> AsyncIterator[Gateway]:
    """`gateway run` in a process of its own, which crashes where it is told to; ended by SIGTERM."""
    port, admin = free_port(), free_port()
    settings = SETTINGS % {"port": port, "admin": admin, "log": folder / "access.out"}
    (folder / "gateway.yaml").write_text(settings)
    (folder / "policies.yaml").write_text(policies)
    (folder / "sitecustomize.py").write_text(CRASHING)
    with (folder / "stdout.out").open("wb") as out, (folder / "stderr.out").open("wb") as err:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gateway", "run", "-c", "gateway.yaml"),
            cwd=folder,
            env=environment(folder, store),
            stdout=out,
            stderr=err,
        )
    gateway = Gateway(folder, process, port, admin)
    try:
        await until_ready(gateway)
        yield gateway
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.wait()


def admin_request(path: str, token: str = ADMIN, method: str = "GET") -> bytes:
    return request(path, f"Authorization: Bearer {token}", "Connection: close", method=method, host="localhost")


async def until_ready(gateway: Gateway) -> None:
    async def ready() -> bool:
        assert gateway.process.returncode is None, gateway.everything().decode()
        return await gateway.ask(admin_request("/readyz"), admin=True) == 200

    await eventually(ready, not_yet=(OSError, asyncio.IncompleteReadError))


async def ask_admin(gateway: Gateway) -> None:
    """Everything the admin listener tells, and what it says to strangers."""
    for path in ("/livez", "/readyz?verbose", "/metrics", "/-/policy", "/-/config", "/-/limits", "/-/nothing"):
        await gateway.ask(admin_request(path), admin=True)
        await gateway.ask(admin_request(path, f"{NEEDLE}-wrong"), admin=True)
    await gateway.ask(
        admin_request(f"/-/limits/strict/{NEEDLE}?token={NEEDLE}", f"{NEEDLE}-wrong", "DELETE"), admin=True
    )
    await gateway.ask(request("/-/config", f"Authorization: Bearer {ADMIN}", host=f"{NEEDLE}.example"), admin=True)


async def checked(folder: Path, store: str, *arguments: str) -> bytes:
    """What `gateway check` prints about these files."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "check", "gateway.yaml", "--print", *arguments),
        cwd=folder,
        env=environment(folder, store),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0, printed.decode()
    return printed


async def test_nothing_that_is_written_holds_a_secret(tmp_path: Path, start_redis_server: StartServer) -> None:
    server = start_redis_server("--requirepass", STORE.replace("%2F", "/"))
    url = f"unix://:{STORE}@{server.path}"
    context, plain = server_context(), await asyncio.start_server(answer_plainly, "127.0.0.1", 0)
    tls = await asyncio.start_server(answer_plainly, "127.0.0.1", 0, ssl=context)
    async with Upstream(script=answering) as upstream, plain, tls:
        policies = POLICIES % {
            "hash": hash_text(API_KEY, PEPPER.encode()),
            "up": upstream.url,
            "closed": free_port(),
            "tls": tls.sockets[0].getsockname()[1],
            "plain": plain.sockets[0].getsockname()[1],
        }
        async with running(tmp_path, policies, url) as gateway:
            statuses = [await gateway.ask(one) for one in ORDINARY]
            assert {204, 200, 400, 401, 403, 413, 417, 431, 500, 501, 502} <= set(statuses), statuses
            assert 429 in [await gateway.ask(ORDINARY[0]) for _ in range(6)]
            await ask_admin(gateway)
            server.kill()
            assert 503 in [await gateway.ask(request("/strict/x", *LINES)) for _ in range(20)]
            await gateway.ask(ORDINARY[0])
            await ask_admin(gateway)
            server.arguments = ("--requirepass", OTHER_STORE)  # the password is wrong from now on
            server.restart()
            assert 503 in [await gateway.ask(request("/strict/x", *LINES)) for _ in range(20)]
            await ask_admin(gateway)
        said = gateway.everything() + await checked(tmp_path, url) + await checked(tmp_path, url, "--format", "json")
    for word in (
        b'"event_name":"call.crashed"',
        b"ValueError: invalid literal for int()",
        b'"event_name":"store.degraded"',
    ):
        assert word in said
    assert said.count(b'"event_name":"http.access"') >= len(ORDINARY)
    assert [needle for needle in NEEDLES if needle.encode() in said] == []


def server_context() -> ssl.SSLContext:
    """Of an issuer whom nobody knows."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    return context


async def answer_plainly(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(f"HTTP/1.1 400 {NEEDLE}\r\nContent-Length: 0\r\n\r\n".encode())
    writer.close()
