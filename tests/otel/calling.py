"""Calls of every kind, as their callers and an upstream know them."""

import asyncio
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from tests.fakes.upstream import Received, Socket
from tests.fakes.waiting import eventually, for_ever

TENANTS = ("t0", "t1", "t2")
KINDS = (
    *("plain/200", "plain/204", "plain/302", "plain/404", "plain/500", "plain/stream", "plain/cut", "plain/reset"),
    *("plain/switch", "plain/leaves", "plain/short", "plain/garbled", "plain/broken-off", "plain/too-large"),
    *("again/503-200", "again/503-503-503", "again/reset-429-200", "again/cut", "again/503-leaves", "late/silent"),
    *("late/silent-200", "gone/200", "few/200", "few/200", "few/200", "shadow/200", "shadow/200", "paced/200"),
    *("paced/503-200", "paused/429", "paused/200", "broken/500", "broken/500", "broken/200", "one/200", "one/stream"),
    *("kept/200", "kept/200", "boxed/200", "nowhere/200", "nobody/200", "noise/", "early/leaves"),
)
"""Route and what the upstream says to each attempt, or what the caller does."""
BODIES: Mapping[str, tuple[str, bytes]] = {
    "short": ("Content-Length: 100", b"short"),
    "garbled": ("Transfer-Encoding: chunked", b"3\r\nabc\r\nzz\r\n"),
    "broken-off": ("Transfer-Encoding: chunked", b"3\r\nabc\r\n"),
    "too-large": ("Content-Length: 999999999", b""),
}


@dataclass
class Call:
    """What the caller knows of it. `status` 0: there was no answer. `sampled`: whether its trace is."""

    route: str
    way: str
    id: str
    method: str
    tenant: str
    sampled: bool
    status: int = 0
    fields: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def left(self) -> bool:
        return self.way.endswith("leaves") or self.way == "short"

    @property
    def traced(self) -> bool:
        return self.sampled and self.route != "noise"

    def request(self) -> bytes:
        """Its head, and its body as far as it is sent at once."""
        if self.route == "noise":
            return b"GET / HTTP/1.1\r\nHost: gw\r\nBad Field: x\r\n\r\n"
        lines = [
            f"{self.method} /{self.route}/{self.way} HTTP/1.1",
            *("Host: gw", f"X-Request-Id: {self.id}", f"X-Connection-Id: {self.tenant}-{self.route}"),
            f"traceparent: 00-{self.id.encode().hex():0>32}-00f067aa0ba902b7-0{self.sampled:d}",
        ]
        lines += ["Connection: Upgrade", "Upgrade: x"] if self.way == "switch" else ["Connection: close"]
        lines += [f"X-Tenant-Id: {self.tenant}"] if self.route != "nobody" else []
        framing, body = BODIES.get(self.way, ("Content-Length: 7", b"content") if self.method == "PUT" else ("", b""))
        return "\r\n".join([*lines, *([framing] if framing else []), "", ""]).encode() + body


def any_call(rng: random.Random, number: int) -> Call:
    route, _, way = rng.choice(KINDS).partition("/")
    method = rng.choice(("GET", "GET", "HEAD", "PUT", "DELETE", "BREW"))
    if way in BODIES:
        method = "PUT"
    elif route in ("kept", "noise") or way in ("switch", "cut", "503-leaves"):
        method = "GET"
    return Call(route, way, f"call-{number}", method, rng.choice(TENANTS), rng.random() < 0.7)


async def make(call: Call, port: int, moody: "Moody") -> None:
    """Put what came of it into the call."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(call.request())
        if call.way.endswith("leaves"):
            if call.route != "early":
                await eventually(lambda: len(moody.seen[call.id]) == len(call.way.split("-")))
            return
        if call.way == "short":
            writer.write_eof()
        elif call.way == "switch":
            writer.write(b"hello")
        elif call.way == "broken-off":
            await eventually(lambda: call.id in moody.begun)
            writer.write(b"zz\r\n")
        _read(call, await _all(reader))
    finally:
        writer.close()


async def _all(reader: asyncio.StreamReader) -> bytes:
    got = b""
    try:
        while data := await reader.read(65_536):
            got += data
    except ConnectionError:
        pass  # an answer that is cut
    return got


def _read(call: Call, got: bytes) -> None:
    head, _, call.body = got.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    call.status = int(status.split()[1]) if status else 0
    call.fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    if "chunked" in call.fields.get("transfer-encoding", ""):
        rest, call.body = call.body, b""
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            call.body += rest[: int(size, 16)]
            rest = rest[int(size, 16) + 2 :]


async def _stream(socket: Socket) -> bytes:
    await socket.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
    return b"3\r\ntwo\r\n0\r\n\r\n"


async def _cut(socket: Socket) -> None:
    await socket.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun")
    socket.reset()


async def _reset(socket: Socket) -> None:
    socket.reset()


async def _silent(_socket: Socket) -> None:
    await for_ever()


async def _switch(socket: Socket) -> None:
    await socket.send(b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nhello")
    await socket.reader.readexactly(5)


WAYS: Mapping[str, Callable[[Socket], Awaitable[bytes | None]]] = {
    "stream": _stream,
    "cut": _cut,
    "reset": _reset,
    "switch": _switch,
    "silent": _silent,
    "leaves": _silent,
}


class Moody:
    """The upstream's script: it says what the path tells it to, the last word again and again.

    begun  calls of which the head has come
    seen   by call, what was said to each attempt that came as a whole; parents: the spans that these named
    """

    def __init__(self) -> None:
        self.begun: set[str] = set()
        self.seen: dict[str, list[str]] = defaultdict(list)
        self.parents: dict[str, list[str]] = defaultdict(list)

    async def __call__(self, request: Received, socket: Socket) -> bytes | None:
        """The upstream is not to read bodies itself: it would tell nobody of those that are broken off."""
        (id_,), words = request.fields("X-Request-Id"), request.target.split("/")[2].split("-")
        self.begun.add(id_)
        await socket.reader.readexactly(sum(map(int, request.fields("Content-Length"))))
        if request.fields("Transfer-Encoding"):
            await for_ever()
        word = words[min(len(self.seen[id_]), len(words) - 1)]
        self.seen[id_].append(word)
        self.parents[id_].append(request.fields("traceparent")[0].split("-")[2])
        if word in WAYS:
            return await WAYS[word](socket)
        body = b"" if request.method == "HEAD" or word == "204" else b"said"
        more = "Retry-After: 600\r\n" if word == "429" else ""
        length = "" if word == "204" else "Content-Length: 4\r\n"
        return f"HTTP/1.1 {word} Said\r\n{more}{length}\r\n".encode() + body
