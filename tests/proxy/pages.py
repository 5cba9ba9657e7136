"""Web pages of all kinds for an independent server."""

import base64
import gzip
import hashlib
import json
import zlib
from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

Fields = list[tuple[str, str]]
LETTERS = bytes(range(ord("a"), ord("z") + 1))


class Page(NamedTuple):
    """`body`: bytes are sent with their length, pieces without."""

    status: str
    fields: Fields
    body: bytes | Iterable[bytes] = b""


class Asked(NamedTuple):
    """`rest`: of the path, behind the name of the page."""

    environ: dict[str, Any]
    rest: list[str]
    arguments: list[tuple[str, str]]

    @property
    def number(self) -> int:
        return int(self.rest[0])

    def field(self, name: str) -> str:
        return str(self.environ.get("HTTP_" + name.upper().replace("-", "_"), ""))

    def argument(self, name: str, default: str = "") -> str:
        return dict(self.arguments).get(name, default)


def page(asked: Asked, name: str) -> Page:
    """The page of this name; 404 if there is none, 405 if it does not know the method."""
    if name not in PAGES:
        return Page(line(404), [("Content-Type", "text/html")], b"<h1>Not found</h1>")
    make, methods = PAGES[name]
    if asked.environ["REQUEST_METHOD"] == "OPTIONS" and "GET" in methods:
        return Page(line(200), [("Allow", "GET, HEAD, OPTIONS"), ("Access-Control-Max-Age", "3600")])
    if methods and asked.environ["REQUEST_METHOD"] not in methods:
        return Page(line(405), [("Allow", ", ".join(methods))], b"<h1>Method not allowed</h1>")
    return make(asked)


def line(status: int) -> str:
    known = status in HTTPStatus.__members__.values()
    return f"{status} {HTTPStatus(status).phrase if known else 'Of Its Own'}"


def told(asked: Asked, **more: object) -> bytes:
    """What the page was asked."""
    environ = asked.environ
    body = environ["wsgi.input"].read()
    return json.dumps(
        {
            "method": environ["REQUEST_METHOD"],
            "url": f"http://{environ.get('HTTP_HOST')}{environ['PATH_INFO']}?{environ['QUERY_STRING']}",
            "origin": environ["REMOTE_ADDR"],
            "args": dict(asked.arguments),
            "headers": {name: text for name, text in sorted(environ.items()) if name.startswith(("HTTP_", "CONTENT_"))},
            "data": body.decode("latin-1"),
            **more,
        }
    ).encode()


def echo(asked: Asked) -> Page:
    return Page(line(200), [("Content-Type", "application/json")], told(asked))


def status(asked: Asked) -> Page:
    fields = {3: [("Location", "/redirect/1")], 4: [("WWW-Authenticate", 'Basic realm="pages"')]}
    return Page(line(asked.number), fields.get(asked.number // 100, []), b"" if asked.number < 400 else b"no\n")


def redirect(asked: Asked, before: str = "/relative-redirect/") -> Page:
    return Page(line(302), [("Location", f"{before}{asked.number - 1}" if asked.number > 1 else "/get")], b"there\n")


def absolute_redirect(asked: Asked) -> Page:
    return redirect(asked, f"http://{asked.environ['HTTP_HOST']}/absolute-redirect/")


def redirect_to(asked: Asked) -> Page:
    return Page(line(int(asked.argument("status_code", "302"))), [("Location", asked.argument("url"))])


def encoded(name: str, coding: str, encode: Callable[[bytes], bytes]) -> Callable[[Asked], Page]:
    def make(asked: Asked) -> Page:
        fields = [("Content-Type", "application/json"), ("Content-Encoding", coding), ("Vary", "Accept-Encoding")]
        return Page(line(200), fields, encode(told(asked, **{name: True})))

    return make


def noise(seed: str, size: int) -> bytes:
    blocks = (hashlib.sha256(f"{seed} {n}".encode()).digest() for n in range(size // 32 + 1))
    return b"".join(blocks)[:size]


def some_bytes(asked: Asked) -> Page:
    return Page(line(200), [("Content-Type", "application/octet-stream")], noise(asked.argument("seed"), asked.number))


def stream_bytes(asked: Asked) -> Page:
    data, size = noise(asked.argument("seed"), asked.number), int(asked.argument("chunk_size"))
    pieces = (data[at : at + size] for at in range(0, len(data), size))
    return Page(line(200), [("Content-Type", "application/octet-stream")], pieces)


def stream(asked: Asked) -> Page:
    text = told(asked)

    def lines() -> Iterator[bytes]:
        for _ in range(asked.number):
            yield text + b"\n"

    return Page(line(200), [("Content-Type", "application/json")], lines())


def a_range(asked: Asked) -> Page:
    size = asked.number
    data = (LETTERS * (size // len(LETTERS) + 1))[:size]
    fields = [("Content-Type", "application/octet-stream"), ("Accept-Ranges", "bytes"), ("ETag", f'"range{size}"')]
    first, dash, last = asked.field("Range").removeprefix("bytes=").partition("-")
    if not dash:
        return Page(line(200), fields, data)
    begin = int(first) if first else size - int(last)
    end = int(last) + 1 if first and last else size
    if begin >= size:
        return Page(line(416), [*fields, ("Content-Range", f"bytes */{size}")])
    return Page(line(206), [*fields, ("Content-Range", f"bytes {begin}-{end - 1}/{size}")], data[begin:end])


def cache(asked: Asked) -> Page:
    if asked.rest:
        return Page(line(200), [("Cache-Control", f"public, max-age={asked.number}")], told(asked))
    fields = [("Last-Modified", "Sat, 01 Jan 2022 00:00:00 GMT"), ("ETag", '"cache"')]
    return Page(line(304), fields) if asked.field("If-Modified-Since") else Page(line(200), fields, told(asked))


def etag(asked: Asked) -> Page:
    own = f'"{asked.rest[0]}"'
    if own in asked.field("If-None-Match") or asked.field("If-None-Match") == "*":
        return Page(line(304), [("ETag", own)])
    if asked.field("If-Match") and own not in asked.field("If-Match"):
        return Page(line(412), [("ETag", own)])
    return Page(line(200), [("ETag", own)], told(asked))


def cookies(asked: Asked) -> Page:
    if not asked.rest:
        return echo(asked)
    ends = "; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0" if asked.rest[0] == "delete" else ""
    set_ = [("Set-Cookie", f"{name}={value}{ends}; Path=/") for name, value in asked.arguments]
    return Page(line(302), [("Location", "/cookies"), *set_], b"baked\n")


def basic(asked: Asked, refusal: int = 401) -> Page:
    wanted = "Basic " + base64.b64encode(":".join(asked.rest).encode()).decode()
    if asked.field("Authorization") == wanted:
        return Page(line(200), [("Content-Type", "application/json")], b'{"authenticated": true}')
    return Page(line(refusal), [("WWW-Authenticate", 'Basic realm="Fake Realm"')] if refusal == 401 else [])


def bearer(asked: Asked) -> Page:
    return echo(asked) if asked.field("Authorization") else Page(line(401), [("WWW-Authenticate", "Bearer")])


def response_headers(asked: Asked) -> Page:
    return Page(line(200), [*asked.arguments], told(asked))


def fixed(kind: str, body: bytes) -> Callable[[Asked], Page]:
    return lambda _asked: Page(line(200), [("Content-Type", kind)], body)


READ = ("GET", "HEAD", "OPTIONS")
PAGES: dict[str, tuple[Callable[[Asked], Page], tuple[str, ...]]] = {
    "": (fixed("text/html; charset=utf-8", b"<!DOCTYPE html><h1>Pages</h1>"), READ),
    "anything": (echo, ()),
    "get": (echo, READ),
    "post": (echo, ("POST", "OPTIONS")),
    "put": (echo, ("PUT", "OPTIONS")),
    "headers": (echo, READ),
    "ip": (echo, READ),
    "status": (status, ()),
    "redirect": (redirect, READ),
    "relative-redirect": (redirect, READ),
    "absolute-redirect": (absolute_redirect, READ),
    "redirect-to": (redirect_to, ()),
    "gzip": (encoded("gzipped", "gzip", lambda data: gzip.compress(data, mtime=0)), READ),
    "deflate": (encoded("deflated", "deflate", zlib.compress), READ),
    "bytes": (some_bytes, READ),
    "stream-bytes": (stream_bytes, READ),
    "stream": (stream, READ),
    "html": (fixed("text/html; charset=utf-8", "<p>Zoë ∮ E⋅da</p>".encode()), READ),
    "xml": (fixed("application/xml", b"<?xml version='1.0' encoding='us-ascii'?><slides/>"), READ),
    "image": (fixed("image/png", b"\x89PNG\r\n\x1a\n" + bytes(range(256))), READ),
    "range": (a_range, READ),
    "cache": (cache, READ),
    "etag": (etag, READ),
    "cookies": (cookies, READ),
    "basic-auth": (basic, READ),
    "hidden-basic-auth": (lambda asked: basic(asked, 404), READ),
    "bearer": (bearer, READ),
    "response-headers": (response_headers, READ),
}


def application(environ: dict[str, Any], answer: Callable[[str, Fields], Any]) -> Iterable[bytes]:
    """WSGI. Whoever asks from elsewhere may read all of it (CORS)."""
    name, *rest = environ["PATH_INFO"].removeprefix("/").split("/")
    arguments = parse_qsl(environ["QUERY_STRING"], keep_blank_values=True)
    status, fields, body = page(Asked(environ, rest, arguments), name)
    fields = [*fields, ("Access-Control-Allow-Origin", environ.get("HTTP_ORIGIN", "*"))]
    if isinstance(body, bytes):
        if status[:3] not in ("204", "304"):
            fields.append(("Content-Length", str(len(body))))
        body = [body]
    answer(status, fields)
    return iter([b""] if environ["REQUEST_METHOD"] == "HEAD" else body)
