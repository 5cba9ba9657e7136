"""An HTTP server that shares no code with the gateway: waitress, in a process of its own.

Beside ordinary `pages` it has `/seen/...`, which tells exactly what of a request arrived, and `/odd/<name>`, answers
that are rare. What the gateway promises to add to requests is taken out before anything can echo it.
"""

import hashlib
import json
import os
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

import waitress

from tests.proxy import pages

ADDED_BY_THE_GATEWAY = ("HTTP_VIA", "HTTP_FORWARDED", "HTTP_X_REQUEST_ID", "HTTP_TRACEPARENT")
NOT_FORWARDED = ("HTTP_CONNECTION", "HTTP_EXPECT")  # each connection has its own
ODD: dict[str, tuple[str, list[tuple[str, str]], bytes]] = {
    "no-type": ("200 OK", [("Content-Length", "4")], b"\x00\xff\r\n"),
    "repeats": ("200 OK", [("X-A", "1"), ("x-b", "2"), ("X-A", "3"), ("Content-Length", "0")], b""),
    "cookies": (
        "200 OK",
        [
            ("Set-Cookie", "a=1; Expires=Wed, 09 Jun 2027 10:18:14 GMT; Path=/"),
            ("Set-Cookie", "b=2, still b; HttpOnly"),
            ("set-cookie", ""),
            ("Content-Length", "2"),
        ],
        b"ok",
    ),
    "latin-1": ("200 OK", [("X-Name", "caf\xe9 \xfc"), ("X-Empty", ""), ("Content-Length", "1")], b"x"),
    "no-reason": ("299 ", [("Content-Length", "0")], b""),
    "own-reason": ("299 What A Day", [("Content-Length", "0")], b""),
    "unknown-5xx": ("599 Gone Fishing", [("Content-Type", "text/x"), ("Content-Length", "3")], b"5xx"),
    "retry-after": ("429 Too Many Requests", [("Retry-After", "7"), ("Content-Length", "4")], b"slow"),
    "unavailable": ("503 Service Unavailable", [("Retry-After", "0"), ("Content-Length", "4")], b"busy"),
    "many-fields": ("200 OK", [*[(f"X-{n}", "v" * n) for n in range(60)], ("Content-Length", "0")], b""),
    "long-field": ("200 OK", [("X-Long", "l" * 7000), ("Content-Length", "0")], b""),
    "no-length": ("200 OK", [("Content-Type", "text/plain")], b"one piece, length unknown"),
    "no-length-empty": ("200 OK", [("Content-Type", "text/plain")], b""),
    "not-modified": ("304 Not Modified", [("ETag", 'W/"1"'), ("Cache-Control", "max-age=9"), ("Vary", "Accept")], b""),
    "no-content": ("204 No Content", [("ETag", '"e"')], b""),
    "reset-content": ("205 Reset Content", [("Content-Length", "0")], b""),
    "brotli": ("200 OK", [("Content-Encoding", "br"), ("Content-Length", "6")], b"\x8b\x01\x80ok\x03"),
    "encoded": ("200 OK", [("Content-Encoding", "x-own, gzip"), ("Content-Length", "5")], b"\x1f\x8b\x00\x01\x02"),
    "links": ("200 OK", [("Link", '</a>; rel="next"'), ("Link", "</b>; rel=prev"), ("Content-Length", "0")], b""),
    "ranges": (
        "206 Partial Content",
        [("Content-Type", "multipart/byteranges; boundary=B"), ("Content-Length", "5")],
        b"--B--",
    ),
}

Answer = Callable[[str, list[tuple[str, str]]], Any]


def seen(environ: dict[str, Any]) -> bytes:
    """Everything of the request that WSGI lets through, in one canonical text."""
    body = environ["wsgi.input"].read()
    fields = {name: value for name, value in environ.items() if name.startswith(("HTTP_", "CONTENT_"))}
    told = {
        "method": environ["REQUEST_METHOD"],
        "target": environ["REQUEST_URI"],
        "path": environ["PATH_INFO"],
        "query": environ["QUERY_STRING"],
        "fields": dict(sorted(fields.items())),
        "size": len(body),
        "sha256": hashlib.sha256(body).hexdigest(),
    }
    return json.dumps(told, indent=1).encode()


def application(environ: dict[str, Any], answer: Answer) -> Iterable[bytes]:
    for name in (*ADDED_BY_THE_GATEWAY, *NOT_FORWARDED):
        environ.pop(name, None)
    path = environ["PATH_INFO"]
    if path.startswith("/odd/"):
        status, fields, body = ODD[path.removeprefix("/odd/")]
        answer(status, list(fields))
        if environ["REQUEST_METHOD"] == "HEAD":  # waitress would send it, and it would be the next answer's beginning
            body = b""
        return iter((body,))  # no len(): waitress cannot make up a Content-Length
    if path == "/blob":
        answer("200 OK", [("Content-Type", "application/octet-stream"), ("X-Origin", "independent")])
        return (b"%07d\n" % n * 1000 for n in range(int(environ["QUERY_STRING"])))
    if path.startswith("/seen"):
        text = seen(environ)
        answer("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(text)))])
        return [text]
    return pages.application(environ, answer)


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


def main() -> None:
    """Serve on a free port, say which on stdout, end when stdin ends."""
    server = waitress.create_server(application, host="127.0.0.1", port=0, threads=4)
    print(server.effective_port, flush=True)  # noqa: T201
    threading.Thread(target=_end_with_parent, daemon=True).start()
    server.run()


if __name__ == "__main__":
    main()
