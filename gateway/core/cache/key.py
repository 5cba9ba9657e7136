"""Which requests share an answer (RFC 9111 §2, §4.1), and which never come near a cache.

A key has two parts. The first is what is asked for and for whom; the second tells apart the answers to that: what the
answers' `Vary` names, and besides what answers often depend on without saying so.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple
from urllib.parse import urljoin, urlsplit

from gateway.core.cache.control import values
from gateway.core.cache.rules import Cache, storable
from gateway.core.http.fields import ADDRESS_FIELDS, connection_named, lower
from gateway.core.http.framing import Fields
from gateway.core.policy import PathPattern
from gateway.core.routing.ambiguity import odd
from gateway.core.routing.match import match_path

NEGOTIATED = (b"accept", b"accept-encoding", b"accept-language")
"""Many servers answer by these and forget to say so in `Vary`."""
MAX_VARY = 16
"""Fields that an answer may name. One that names more is not kept."""

_OURS = ADDRESS_FIELDS | {b"via", b"x-request-id", b"traceparent", b"tracestate", b"host", b"connection", b"te"}
"""Fields that the upstream gets from us: what it answers to them is no other caller's answer."""
_PASS_BY = frozenset({b"if-match", b"if-unmodified-since", b"expect", b"upgrade"})
_ANOTHER_REQUEST = (
    b"x-forwarded-", b"x-original-", b"x-rewrite-", b"x-http-", b"x-method", b"x-host", b"x-url", b"x-real-",
    b"x-proxy-", b"x-backend", b"x-override", b"front-end-", b"base-url", b"destination",
)  # fmt: skip
"""What fields begin with by which some servers answer another request than the one in the request line."""
_TOLD = re.compile(rb"(?i)(?:^|[;,])[ \t]*((?:host|proto)=[^;,]*)")


class Shelf(NamedTuple):
    """What is asked for and for whom: everything that stands here is the same for all who share an answer.

    owner   of the answers: the partition that the policy's `vary_by` makes of the caller, and by which credentials of
            ours they were got
    told    what proxies that are believed say of the host and scheme that was called
    """

    owner: str
    scheme: str
    host: str
    target: str
    told: tuple[bytes, ...] = ()


def reads(cache: Cache, head: Any, rest: str) -> bool:
    """Whether a request may be answered from the cache, or fill it.

    head  the request's: method, fields, has_body, upgrade
    rest  the path behind `strip_prefix`
    """
    if head.has_body or head.upgrade or any(_passes_by(lower[name]) for name, _ in head.fields):
        return False
    if _takes_off(head.fields):
        return False
    return covers(cache, head.method, rest)


def covers(cache: Cache, method: str, rest: str) -> bool:
    """Whether the policy names such calls. Paths that can be read in more than one way it never does."""
    if method not in cache.methods or odd(rest):
        return False
    segments = rest.split("/")
    return any(match_path(PathPattern(None, one), rest, segments) is not None for one in cache.paths)


def _passes_by(name: bytes) -> bool:
    if name in _PASS_BY:
        return True
    return name not in ADDRESS_FIELDS and name.replace(b"_", b"-").startswith(_ANOTHER_REQUEST)


def _takes_off(fields: Fields) -> bool:
    """Whether `Connection` names fields that the upstream then does not get to see: its answer would be kept for those
    who do send it what these say."""
    connection = ",".join(values(fields, b"connection"))
    return bool(connection) and bool(connection_named(connection, ()))


def told(fields: Fields) -> tuple[bytes, ...]:
    """See `Shelf`. Who called, and over which proxies, is not looked at."""
    said = []
    for name, value in fields:
        if lower[name] == b"forwarded":
            said += [element.lower() for element in _TOLD.findall(value)]
        elif lower[name] in ADDRESS_FIELDS and lower[name] not in (b"x-forwarded-for", b"x-real-ip"):
            said.append(b"%b=%b" % (lower[name], value))
    return tuple(said)


def vary(answer: Fields) -> tuple[bytes, ...] | None:
    """The fields that an answer says it depends on, in lower case and order; None when it cannot be kept.

    That is so for `*`, for a field that the gateway itself writes, and for more of them than anybody needs.
    """
    names = {name.strip().lower() for value in values(answer, b"vary") for name in value.split(",")} - {""}
    found = frozenset(name.encode("latin-1") for name in names)
    if b"*" in found or found & _OURS or len(found) > MAX_VARY:
        return None
    return tuple(sorted(found))


def also_changed(target: str, authority: str, answer: Fields) -> Iterator[str]:
    """What else an unsafe call has changed, by its answer (§4.4): other targets of the same server, as it reads them.

    target     that was asked for; authority: of the server, as it was told
    """
    for value in values(answer, b"location") + values(answer, b"content-location"):
        try:
            named = urlsplit(urljoin(f"//{authority}{target}", value))
        except ValueError:
            continue
        if named.netloc.lower() == authority.lower() and named.path.startswith("/"):
            yield f"{named.path}?{named.query}" if named.query else named.path


def storable_by(cache: Cache, request: Fields, status: int, answer: Fields) -> tuple[bytes, ...] | None:
    """What an answer depends on, if it may be kept (`rules.storable`); None = it may not."""
    return vary(answer) if storable(cache, request, status, answer) else None


def variant(cache: Cache, request: Fields, named: Sequence[bytes]) -> bytes:
    """Tells the answers on one shelf apart: a hash over what the request says in all fields that count, and over the
    names of those by which it says who is calling.

    named  what the answers on the shelf depend on: see `vary`
    """
    whose = cache.personal.of(request)
    wanted = sorted({*NEGOTIATED, *cache.vary_headers, *named, *(whose if cache.per_credential else ())})
    hashed = blake2b(digest_size=16)
    for part in (b",".join(sorted(whose)), *_parts(wanted, request)):
        hashed.update(b"%d:%b" % (len(part), part))
    return hashed.digest()


def _parts(wanted: Iterable[bytes], request: Fields) -> Iterable[bytes]:
    """§4.1: lines of one field are one value, blanks around elements do not count; none is not the same as empty."""
    said: dict[bytes, list[bytes]] = {}
    for name, value in request:
        said.setdefault(lower[name], []).append(value)
    for name in wanted:
        yield name
        lines = said.get(name)
        yield b"-" if lines is None else b"+" + b",".join(part.strip(b" \t") for part in b",".join(lines).split(b","))
