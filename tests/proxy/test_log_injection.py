"""Whatever 10,000 callers write where: each call is one line, every reader sees the same, and no line does anything."""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pytest

from gateway.observe.batch import Batch
from gateway.observe.log.access import AccessLog
from gateway.observe.log.encode import LINE_BYTES
from gateway.observe.log.logger import close_logging, envelope
from gateway.observe.log.schema import FIELDS
from gateway.observe.log.writer import writer_for
from gateway.settings import Logging, Settings
from tests.app.conftest import Running, Start
from tests.fakes.upstream import Received, Socket, Upstream

CALLS = 10_000
LANES = 8
FORMATS = ("native", "ecs", "otel")
POLICIES = """
version: 1
keys:
  tenant: {from: header, name: X-Tenant-Id, on_missing: anonymous}
  account: {from: path, name: id, on_missing: anonymous}
  connection: {from: query, name: c, on_missing: anonymous}
limits:
  three: {algorithm: token_bucket, rate: 1000000, per: 1s, key: [tenant, account, connection]}
  one: {algorithm: token_bucket, rate: 1, per: 1h, key: []}
upstreams: {up: {url: "%s"}}
routes:
  - {name: keyed, match: {path: "/k/{id}/**"}, upstream: up, limits: [three]}
  - {name: all, match: {path_prefix: /}, upstream: up, limits: [one]}
"""
CONTROLS = (
    *(bytes([code]) for code in (*range(32), 127)), b"\r\n ", b"\r\nX-Injected: yes", b"\x1b[31m", b"\x1b]0;title\x07",
)  # fmt: skip
NASTY = (
    b"\t", b"\xc2\x9b31m", b"\x9b31m", "\u2028".encode(), "\u2029".encode(), "\u0085".encode(), "\u202e".encode(),
    "\u200b".encode(), "\ufeff".encode(), b'"', b"'", b"\\", b'\\"', b"\\u0000", b"\\n", b'"}\\n{"level":"error"}',
    b'","level":"error","x":"', b"</script>", b"\xff\xfe", b"\xc3\x28", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf5\x80\x80\x80",
    b"\xe2\x80", "\U0001f600".encode(), b"%0a%0d", b"%00", b"%1b[2J", b"%e2%80%a8", b"%c2%9b", b"%ff", b"%22%7d", b"%",
    b"%%s%n", b"${jndi:ldap://x}", b"{{7*7}}", b"1e999", b"NaN", b"null", b"=cmd|'/c calc'!A1", b"a" * 200,
    b"\xc3\xa9" * 3000, b"\\" * 4000, b'"' * 6000,
)  # fmt: skip
ACTIVE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
"""What ends a line, moves a cursor or turns text around, for one reader or another."""


class Callers:
    """Makes requests, each strange in one to three places. The same seed makes the same requests."""

    def __init__(self, seed: str) -> None:
        self._random = Random(seed)

    def request(self, number: int) -> bytes:
        """One head without a body; no piece can end it early."""
        target = self._random.choice((b"/k/acme/x?c=conn&q=1", b"/other?token=x"))
        parts = {
            "method": b"GET", "target": target, "version": b"HTTP/1.1", "Host": b"gateway.example",
            "User-Agent": b"agent/1.0", "Referer": b"https://a.example/?q=1", "X-Tenant-Id": b"t%d" % number,
            "traceparent": b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "X-Forwarded-For": b"192.0.2.1",
            "Forwarded": b"", "Authorization": b"Bearer x", "Cookie": b"a=b", "X-Other": b"c",
        }  # fmt: skip
        for name in self._random.sample(list(parts), self._random.choice((1, 1, 1, 2, 3))):
            parts[name] = self._spoiled(parts[name])
        lines = [b"%b: %b" % (name.encode(), value) for name, value in parts.items() if name[0].isupper() and value]
        line = b" ".join((parts["method"], parts["target"], parts["version"]))
        return b"\r\n".join((line, *lines, b"traceparent: " + parts["traceparent"], b"X-Number: %d" % number, b"", b""))

    def reason(self) -> bytes:
        """A reason phrase that is legal and strange."""
        return self._random.choice((b"OK", b"", b"\xff\xfe", "\u2028".encode(), b'"}{', b"\t%0a\t", b"\xc2\x9b31m"))

    def _spoiled(self, value: bytes) -> bytes:
        piece = self._random.choice(NASTY if self._random.random() < 0.9 else CONTROLS)
        at = self._random.randrange(len(value) + 1)
        return self._random.choice((value[:at] + piece + value[at:], piece, value + piece))


@pytest.fixture
def logs(tmp_path: Path) -> Iterator[dict[str, Path]]:
    """File of each format, and of the lines for people."""
    yield {name: tmp_path / f"{name}.log" for name in (*FORMATS, "pretty")}
    close_logging()


def watch(gateway: Running, logs: dict[str, Path]) -> None:
    """Log every call in every format."""
    sinks = []
    for name, path in logs.items():
        logging = Logging(
            format=name if name in FORMATS else "native",
            access=str(path),
            connection_errors=str(path),
            redact=("authorization", "cookie"),  # queries are logged too
            pretty=name == "pretty",
        )
        sinks.append(AccessLog(logging, envelope(Settings(), worker=0)))
    gateway.gateway.sink = Batch([gateway.gateway.sink, *sinks])


async def test_ten_thousand_strange_calls(start: Start, upstream: Upstream, logs: dict[str, Path]) -> None:
    callers = Callers("strange")

    async def script(_request: Received, _socket: Socket) -> bytes:
        return b"HTTP/1.1 200 %b\r\nContent-Length: 0\r\n\r\n" % callers.reason()

    upstream.script = script
    gateway = await start(POLICIES % upstream.url, trusted_proxies=("127.0.0.0/8",))
    watch(gateway, logs)
    numbers = count()
    answers: list[tuple[int, str]] = []

    async def lane() -> None:
        mine = Lane(gateway)
        while (number := next(numbers)) < CALLS:
            answers.append(await mine.ask(callers.request(number)))
        mine.leave()

    await asyncio.gather(*(lane() for _ in range(LANES)))
    await gateway.records.wait(CALLS)
    for path in logs.values():
        writer_for(str(path)).flush()
    close_logging()
    statuses = Counter(status for status, _ in answers)
    assert min(statuses[status] for status in (200, 400, 429)) > CALLS / 6
    for name in FORMATS:
        check_json(logs[name].read_bytes(), name, answers)
    check_pretty(logs["pretty"].read_bytes())


class Lane:
    """One caller after the other, on one socket for as long as the gateway keeps it."""

    def __init__(self, gateway: Running) -> None:
        self._gateway = gateway
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: bytes) -> tuple[int, str]:
        """Status and request id of the one answer."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._gateway.port)
        reader, writer = self._streams
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(re.search(rb"(?i)\r\ncontent-length: (\d+)", head)[1]))  # type: ignore[index]
        if b"\r\nConnection: close\r\n" in head:
            self.leave()
        found = re.search(rb"\r\nX-Request-Id: ([0-9A-Za-z-]+)\r\n", head)
        assert found is not None, head
        return int(head.split(b" ", 2)[1]), found[1].decode()

    def leave(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


def check_json(log: bytes, format_: str, answers: list[tuple[int, str]]) -> None:
    """One line a call, one reading for all readers, only fields that are documented, each answer with its line."""
    text = log.decode("utf-8", "strict")
    assert ACTIVE.search(text.replace("\n", "")) is None
    lines = text.split("\n")
    assert lines.pop() == ""
    assert len(lines) == CALLS
    attribute = format_ if format_ in ("ecs", "otel") else None
    names = {getattr(field, attribute) if attribute else name for name, field in FIELDS.items()}
    names |= {"native": set(), "ecs": {"ecs.version", "url.port"}, "otel": {"SeverityNumber", "server.port"}}[format_]
    seen = []
    for line in lines:
        assert line.splitlines() == [line]
        assert len(line) <= LINE_BYTES
        parsed = json.loads(line, object_pairs_hook=once, parse_constant=refused)
        assert parsed == orjson.loads(line)
        parsed = {**parsed.pop("Attributes", {}), **parsed.pop("Resource", {}), **parsed}
        assert parsed.keys() <= names
        seen.append((parsed[status_name(format_)], parsed[request_id_name(format_)]))
    assert sorted(seen) == sorted(answers)


def status_name(format_: str) -> str:
    return "status" if format_ == "native" else "http.response.status_code"


def request_id_name(format_: str) -> str:
    return {"native": "request_id", "ecs": "http.request.id", "otel": "gateway.request.id"}[format_]


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object in which no name stands twice."""
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def refused(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


def check_pretty(log: bytes) -> None:
    """Only our own colours act on the terminal."""
    text = re.sub(r"\x1b\[(?:0|1|2|31|32|33|36)m", "", log.decode("utf-8", "strict"))
    lines = text.split("\n")
    assert lines.pop() == ""
    assert len(lines) == CALLS
    assert ACTIVE.search("".join(lines)) is None
    assert max(map(len, lines)) < 400
