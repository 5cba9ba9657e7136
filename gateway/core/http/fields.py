"""Header fields between two hops: which are kept, and the text of the heads sent on (RFC 9110 §7.6, RFC 9112).

Names and values are raw bytes and stay as they came: order, case, repeats and non-ASCII bytes included. What one hop
said to the other is removed; what was already checked as a whole head is written back in one unambiguous form.
"""

from collections.abc import Collection, Iterable

from gateway.core.http.framing import Fields

HOP_BY_HOP = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"proxy-authenticate", b"proxy-authorization", b"te"}
    | {b"transfer-encoding", b"upgrade", b"http2-settings"}
)
"""RFC 9110 §7.6.1 (with the names it lists for robustness), and RFC 7540 §3.2.1 for HTTP2-Settings."""

MAX_DASHES = 6  # of a name whose lookalikes are listed: they double with each


def lookalikes(name: bytes) -> frozenset[bytes]:
    """The other names, with `_` for `-`, that CGI, WSGI and the like cannot tell from this one (RFC 3875 §4.1.18)."""
    ends = name.split(b"-", MAX_DASHES)
    found = [ends[0]]
    for end in ends[1:]:
        found = [start + dash + end for start in found for dash in (b"-", b"_")]
    return frozenset(found) - {name}


OURS_UPSTREAM = frozenset({b"host", b"expect", b"x-request-id", b"traceparent", b"tracestate"})
"""Request fields the gateway writes itself."""

ADDRESS_FIELDS = frozenset(
    {b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"x-forwarded-port", b"x-real-ip"}
)
"""Who called, as told by proxies: believed and kept only from trusted peers."""

PROXY_FIELDS = frozenset(
    {b"x-forwarded-server", b"x-forwarded-prefix", b"x-forwarded-uri", b"x-forwarded-method", b"x-forwarded-scheme"}
    | {b"x-forwarded-ssl", b"x-forwarded-tls-client-cert", b"x-forwarded-tls-client-cert-info"}
)
"""What else proxies tell of a call: kept only from trusted peers."""

LOOKALIKES = frozenset({b"proxy"}).union(
    *map(lookalikes, ADDRESS_FIELDS | PROXY_FIELDS | {b"content-length", b"transfer-encoding"})
)
"""Never forwarded: a server that takes them for the real ones would believe what the caller says of itself, or read
another body than was sent. `Proxy` is HTTP_PROXY to a CGI program (CVE-2016-5385)."""

LIMIT_FIELDS = frozenset(
    {b"ratelimit", b"ratelimit-policy", b"x-ratelimit-limit", b"x-ratelimit-remaining", b"x-ratelimit-reset"}
)
"""Rate-limit fields of an upstream's answer: merged with ours, never lost."""

NEVER_BY_CONNECTION = frozenset(
    {b"authorization", b"cookie", b"content-length", b"content-type", b"host", b"via", b"x-request-id", b"traceparent"}
    | {b"tracestate", b"date", b"set-cookie", b"retry-after", b"idempotency-key"}
    | ADDRESS_FIELDS
    | PROXY_FIELDS
    | LIMIT_FIELDS
)
"""Fields that a `Connection` field cannot remove: dropping them would change who a call is from or what it means."""

FORBIDDEN_TRAILERS = (
    HOP_BY_HOP
    | OURS_UPSTREAM
    | ADDRESS_FIELDS
    | PROXY_FIELDS
    | {b"content-length", b"content-encoding", b"content-type", b"content-range", b"trailer"}
    | {b"authorization", b"cookie", b"set-cookie", b"via"}
)
"""RFC 9110 §6.5.1: fields that frame, route or authenticate a message are not accepted as trailers."""

_NOTHING_NAMED: frozenset[bytes] = frozenset()


class _Lower(dict[bytes, bytes]):
    """Names in lower case, remembered (bounded): looking one up costs half of lowering it, eight times a call."""

    max_names = 1024

    def __missing__(self, name: bytes) -> bytes:
        low = name.lower()
        if len(self) < self.max_names and len(name) <= 64:
            self[name] = low
        return low


lower = _Lower()
"""`lower[name]` is `name.lower()`."""


def connection_named(connection: str, protected: Collection[bytes]) -> frozenset[bytes]:
    """Lower-case names listed in a Connection field value that are removed with it."""
    if connection in ("keep-alive", "close", "Keep-Alive", "Close"):  # nearly always
        return _NOTHING_NAMED
    names = {token.strip().lower().encode("latin-1", "replace") for token in connection.split(",")}
    return frozenset(names - NEVER_BY_CONNECTION - set(protected) - HOP_BY_HOP - {b"", b"close"})


def tokens(value: str) -> list[str]:
    """Comma-separated tokens in lower case, without empty ones."""
    return [token for part in value.split(",") if (token := part.strip().lower())]


def keep(fields: Fields, drop: Collection[bytes]) -> list[tuple[bytes, bytes]]:
    """The fields whose lower-case names are not in `drop`, as they came."""
    return [field for field in fields if lower[field[0]] not in drop]


def text(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Field lines, each ended by CRLF."""
    return b"".join([b"%b: %b\r\n" % field for field in fields])


def chunk(data: bytes) -> bytes:
    """One chunk (RFC 9112 §7.1); b"" for no data, because an empty chunk would end the body."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def last_chunk(trailers: Fields) -> bytes:
    """What ends a chunked body, with the trailer fields that may pass."""
    return b"0\r\n%b\r\n" % text(keep(trailers, FORBIDDEN_TRAILERS))


def response_head(status: int, reason: str, fields: Fields, drop: Collection[bytes], added: bytes) -> bytes:
    """A response head for the caller; `added` are complete field lines put behind the upstream's."""
    lines = [b"%b: %b\r\n" % field for field in fields if lower[field[0]] not in drop]
    return b"HTTP/1.1 %d %b\r\n%b%b\r\n" % (
        status,
        reason.encode("utf-8", "surrogateescape"),
        b"".join(lines),
        added,
    )
