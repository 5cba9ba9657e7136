"""Requests for the differential suite: (name, bytes to send), and a list of requests where they are pipelined."""

import hashlib

HOST = b"Host: origin.test:81\r\n"


def get(target: str, *fields: str, method: str = "GET", version: str = "1.1") -> bytes:
    """A request without a body."""
    lines = "".join(f"{field}\r\n" for field in fields)
    return f"{method} {target} HTTP/{version}\r\nHost: origin.test:81\r\n{lines}\r\n".encode("latin-1")


def post(target: str, body: bytes, *fields: str, method: str = "POST", version: str = "1.1") -> bytes:
    """A request with a sized body."""
    return get(target, f"Content-Length: {len(body)}", *fields, method=method, version=version) + body


def chunked(
    target: str, *chunks: bytes, end: bytes = b"0\r\n\r\n", method: str = "POST", fields: tuple[str, ...] = ()
) -> bytes:
    """A request with a chunked body, in just these chunks."""
    head = get(target, "Transfer-Encoding: chunked", *fields, method=method)
    return head + b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + end


def noise(size: int) -> bytes:
    """Incompressible bytes, always the same."""
    blocks = (hashlib.sha256(b"%d" % number).digest() for number in range(size // 32 + 1))
    return b"".join(blocks)[:size]


FORM = "Content-Type: application/x-www-form-urlencoded"
JSON = "Content-Type: application/json"
PARTS = (
    b'--XX\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
    b'--XX\r\nContent-Disposition: form-data; name="f"; filename="x.bin"\r\nContent-Type: application/x\r\n\r\n\x00\xff\r\n'
    b"--XX--\r\n"
)

METHODS = [
    *((f"method {method}", get("/anything/m", method=method)) for method in ("GET", "HEAD", "TRACE", "DELETE")),
    *(
        (f"seen {method}", get("/seen/m", method=method))
        for method in ("OPTIONS", "PURGE", "REPORT", "M-SEARCH", "QUERY")
    ),
    *(
        (f"body with {method}", post("/anything/m", b"a=1", FORM, method=method))
        for method in ("PUT", "PATCH", "DELETE", "GET")
    ),
    *((f"wrong method {method}", post("/get", b"", method=method)) for method in ("POST", "PUT", "BREW")),
    ("options", get("/get", "Origin: http://a.test", "Access-Control-Request-Method: PUT", method="OPTIONS")),
]

STATUSES = [
    *((f"status {code}", get(f"/status/{code}")) for code in (200, 201, 202, 203, 204, 205, 206, 226)),
    *((f"status {code}", get(f"/status/{code}")) for code in (300, 301, 302, 303, 304, 305, 307, 308)),
    *(
        (f"status {code}", get(f"/status/{code}"))
        for code in (400, 401, 402, 403, 404, 405, 406, 410, 416, 418, 422, 429, 451)
    ),
    *((f"status {code}", get(f"/status/{code}")) for code in (500, 501, 502, 503, 504, 505, 511)),
    *((f"head {code}", get(f"/status/{code}", method="HEAD")) for code in (200, 204, 304, 404, 500)),
    *((f"post {code}", post(f"/status/{code}", b"body")) for code in (201, 204, 303, 413)),
]

REDIRECTS = [
    ("redirect", get("/redirect/3")),
    ("relative redirect", get("/relative-redirect/2")),
    ("absolute redirect", get("/absolute-redirect/2")),
    ("redirect elsewhere", get("/redirect-to?url=http%3A%2F%2Felsewhere.test%2Fx%3Fy&status_code=307")),
    ("redirected post", post("/redirect-to?url=/post&status_code=308", b"a", method="POST")),
]

ODD_ANSWERS = [
    *(
        (f"odd {name}", get(f"/odd/{name}"))
        for name in ("no-type", "repeats", "cookies", "latin-1", "no-reason", "own-reason")
    ),
    *(
        (f"odd {name}", get(f"/odd/{name}"))
        for name in ("unknown-5xx", "retry-after", "unavailable", "many-fields", "long-field")
    ),
    *((f"odd {name}", get(f"/odd/{name}")) for name in ("no-length", "no-length-empty", "not-modified", "no-content")),
    *((f"odd {name}", get(f"/odd/{name}")) for name in ("reset-content", "encoded", "brotli", "links", "ranges")),
    *((f"head of odd {name}", get(f"/odd/{name}", method="HEAD")) for name in ("no-type", "no-length", "not-modified")),
]

BODIES_DOWN = [
    ("gzip", get("/gzip", "Accept-Encoding: gzip")),
    ("deflate", get("/deflate", "Accept-Encoding: deflate")),
    ("empty", get("/bytes/0")),
    ("one byte", get("/bytes/1?seed=1")),
    ("100 kB", get("/bytes/102400?seed=2")),
    ("head of 100 kB", get("/bytes/102400?seed=2", method="HEAD")),
    ("chunked", get("/stream-bytes/5000?seed=3&chunk_size=7")),
    ("chunked large", get("/stream-bytes/102400?seed=4&chunk_size=10240")),
    ("4 MB without a length", get("/blob?500")),
    ("lines", get("/stream/20")),
    ("html", get("/html")),
    ("xml", get("/xml")),
    ("image", get("/image/png")),
]

RANGES_AND_CACHES = [
    ("range start", get("/range/1024", "Range: bytes=0-99")),
    ("range middle", get("/range/1024?chunk_size=10", "Range: bytes=100-199")),
    ("range tail", get("/range/1024", "Range: bytes=-10")),
    ("range open", get("/range/1024", "Range: bytes=1000-")),
    ("range unsatisfiable", get("/range/1024", "Range: bytes=2000-3000")),
    ("no range", get("/range/1024")),
    ("cache", get("/cache/60")),
    ("etag fresh", get("/etag/abc")),
    ("etag matches", get("/etag/abc", 'If-None-Match: "abc", W/"x"')),
    ("etag star", get("/etag/abc", "If-None-Match: *")),
    ("etag fails", get("/etag/abc", 'If-Match: "other"')),
    ("not modified", get("/cache", "If-Modified-Since: Sat, 01 Jan 2022 00:00:00 GMT")),
    ("cache control passes", get("/seen/c", "Cache-Control: no-cache, max-age=0", "Pragma: no-cache")),
]

FIELDS = [
    ("headers", get("/headers", "X-One: 1", "x-two:2", "X-Three:   spaced   ")),
    ("repeated", get("/seen/f", "X-A: 1", "X-B: 2", "X-A: 3")),
    ("empty", get("/seen/f", "X-Empty:", "X-Blank:   ")),
    ("latin-1", get("/seen/f", "X-Name: caf\xe9")),
    ("utf-8", get("/seen/f", "X-Name: " + "caf\xe9 \u4e16".encode().decode("latin-1"))),
    ("long", get("/seen/f", "X-Long: " + "v" * 6000)),
    ("many", get("/seen/f", *[f"X-F{number}: {number}" for number in range(80)])),
    ("cookies sent", get("/cookies", "Cookie: a=1; b=2", 'X-Q: "q, \\"r\\""')),
    ("cookies set", get("/cookies/set?a=1&b=2")),
    ("cookies deleted", get("/cookies/delete?a", "Cookie: a=1")),
    ("agent", get("/headers", "User-Agent: own (a; b) c/1")),
    ("ip", get("/ip")),
    ("basic auth", get("/basic-auth/u/p", "Authorization: Basic dTpw")),
    ("basic auth wrong", get("/basic-auth/u/p", "Authorization: Basic dTpx")),
    ("basic auth missing", get("/basic-auth/u/p")),
    ("hidden auth", get("/hidden-basic-auth/u/p")),
    ("bearer", get("/bearer", "Authorization: Bearer abc.def")),
    ("response headers", get("/response-headers?X-Own=1&X-Own=2&Content-Type=text/own;%20a%3Db")),
    ("accept and te", get("/seen/f", "Accept: a/b;q=0.1, */*", "Accept-Language: de, en;q=0.5", "Priority: u=1, i")),
    ("cors", get("/get", "Origin: https://app.test", "Referer: https://app.test/p")),
]

TARGETS = [
    *(
        (f"target {target}", get(target))
        for target in (
            "/seen/a%2Fb",
            "/seen//double///slash/",
            "/seen/a/./b",
            "/seen/a;v=1/b;w",
            "/seen/a+b%20c",
            "/seen/%7Etilde~%c3%a9",
            "/seen/bad%zz%",
            '/seen/pipe|quote"<>^`{}',
            "/seen/?",
            "/seen/?a=1&a=2&b&=c&&d=%26%3D",
            "/seen/q?x=/y?z=//&u=http://h/p?q",
            "/seen/" + "l" * 4000,
            "/seen/q?" + "k=v&" * 900,
            "/anything/a%20b/c?show_env=0&x=%F0%9F%98%80",
            "/not/there",
        )
    ),
    ("root", get("/")),
    ("absolute form", get("http://origin.test:81/anything/absolute?x=1")),
]

BODIES_UP = [
    ("form", post("/post", b"a=1&b=%20+c&a=2", FORM)),
    ("json", post("/post", b'{"a": [1, "\xc3\xa9"]}', JSON)),
    ("multipart", post("/post", PARTS, "Content-Type: multipart/form-data; boundary=XX")),
    ("empty body", post("/post", b"")),
    ("binary", post("/post", bytes(range(256)), "Content-Type: application/octet-stream")),
    ("no type", post("/seen/b", b"\r\n\r\n0\r\n\r\n")),
    ("a request as a body", post("/seen/b", get("/seen/smuggled"))),
    ("64 KiB", post("/seen/b", noise(65536))),
    ("3 MB", post("/seen/b", noise(3_000_000))),
    ("encoded upload", post("/seen/b", b"\x1f\x8b\x08\x00", "Content-Encoding: gzip", "Content-MD5: x")),
    ("chunked", chunked("/seen/b", b"hello ", b"world")),
    ("chunked empty", chunked("/seen/b")),
    ("chunked put", chunked("/seen/b", noise(300), noise(70_000), b"x", method="PUT")),
    ("chunked form", chunked("/post", b"a=1", b"&b=2", fields=(FORM,))),
    ("chunked 2 MB", chunked("/seen/b", *[noise(40_000)] * 50)),
    ("chunk extension", chunked("/seen/b", end=b"5;a=b\r\nhello\r\n0;c\r\n\r\n")),
    (
        "chunked multipart",
        chunked("/post", PARTS[:30], PARTS[30:], fields=("Content-Type: multipart/form-data; boundary=XX",)),
    ),
    ("expect continue", post("/seen/b", b"at once", "Expect: 100-continue")),
]

VERSIONS_AND_SOCKETS = [
    ("1.0", get("/get", version="1.0")),
    ("1.0 head", get("/get", method="HEAD", version="1.0")),
    ("1.0 post", post("/post", b"a=1", FORM, version="1.0")),
    ("1.0 keep-alive", get("/get", "Connection: keep-alive", version="1.0")),
    ("1.0 without a length", get("/stream/3", version="1.0")),
    ("1.0 no content", get("/status/204", version="1.0")),
    ("1.1 close", get("/get", "Connection: close")),
    ("1.1 close without a length", get("/stream/3", "Connection: close")),
    ("1.1 keep-alive", get("/get", "Connection: keep-alive")),
]

PIPELINED: list[tuple[str, list[bytes]]] = [
    ("pipelined", [get("/get?1"), get("/get?2"), get("/get?3")]),
    (
        "pipelined bodies",
        [post("/post", b"one"), chunked("/post", b"two"), get("/get"), post("/put", b"4", method="PUT")],
    ),
    ("pipelined without bodies", [get("/get", method="HEAD"), get("/status/204"), get("/status/304"), get("/get")]),
    ("pipelined then close", [get("/get?1"), get("/get?2", "Connection: close")]),
    ("pipelined errors", [get("/status/500"), get("/nowhere"), get("/get")]),
    (
        "pipelined streams",
        [get("/stream/2"), get("/stream-bytes/500?seed=1&chunk_size=50"), get("/blob?20"), get("/get")],
    ),
    (
        "pipelined large",
        [post("/seen/b", noise(200_000)), get("/blob?50"), chunked("/seen/c", noise(200_000)), get("/ip")],
    ),
    ("pipelined 30", [get(f"/seen/{number}") for number in range(30)]),
]

SINGLE = [
    *METHODS, *STATUSES, *REDIRECTS, *ODD_ANSWERS, *BODIES_DOWN, *RANGES_AND_CACHES,
    *FIELDS, *TARGETS, *BODIES_UP, *VERSIONS_AND_SOCKETS,
]  # fmt: skip
CASES = [*((name, [sent]) for name, sent in SINGLE), *PIPELINED]
