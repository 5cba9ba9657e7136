"""How answers are written for `store/lua/answers.lua`, and how its replies are read.

The header of the script describes the format; a test holds both together.
"""

from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import Any

import orjson

from gateway.core.cache.place import Found, Place
from gateway.core.cache.rules import Stored
from gateway.core.keys import encode_part
from gateway.store.connection.link import Argument
from gateway.store.scripts.sources import load_script

ANSWERS = load_script("answers", "clock", "answers")
ANSWERS_ARGV = ("op", "now_us", "base")
FORMAT = 1
"""Of an answer: the first byte. Another one is not read."""


def base_of(prefix: str, room: str) -> str:
    """What the keys of a room begin with. Tags of limits never are a room's name: they begin otherwise."""
    return f"{prefix}answers:{{{room}}}:"


def beginning(op: str, prefix: str, room: str, now_us: int) -> list[Argument]:
    """The arguments of ANSWERS after the sha that every op has."""
    base = base_of(prefix, room)
    return [3, f"{base}index", f"{base}about", f"{base}bytes", op, now_us, base]


def named(place: Place) -> list[Argument]:
    """Shelf, variant, vary."""
    shelf = place.shelf
    parts = [*(_bytes(part) for part in (shelf.owner, shelf.scheme, shelf.host, shelf.target)), *shelf.told]
    return [
        _digest(b"".join(b"%d:%b" % (len(part), part) for part in parts)),
        place.variant.hex(),
        b",".join(place.vary),
    ]


def member(place: Place) -> str:
    """What the script calls a place."""
    shelf, variant, _ = named(place)
    return f"{shelf!s}:{variant!s}"


def target_of(target: str) -> str:
    """What the script calls a target."""
    return _digest(_bytes(target))


def about(stored: Stored) -> bytes:
    """Size, whose it is, what was asked for: what purges go by."""
    return b"%d %b %b" % (stored.size_bytes, encode_part(stored.tenant or None).encode(), _bytes(stored.target))


def pack_answer(stored: Stored, now_us: int) -> bytes:
    """An answer with its age now: clocks of gateways do not matter then."""
    fields = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in stored.fields]
    texts = [_bytes(text).decode("latin-1") for text in (stored.reason, stored.tenant, stored.target)]
    times = [stored.age_now_us(now_us), stored.fresh_us, stored.revalidate_us, stored.error_us]
    head = orjson.dumps([stored.status, texts, times, [stored.no_cache, stored.must_revalidate], fields])
    return b"%c%b%b%b" % (FORMAT, len(head).to_bytes(4), head, stored.body)


def unpack_answer(packed: bytes, *, here_us: int, now_us: int, stamp: str) -> Stored | None:
    """The answer, `here_us` after it was put; None for what is none."""
    if not packed or packed[0] != FORMAT:
        return None
    end = 5 + int.from_bytes(packed[1:5])
    status, texts, (age_us, *times), (no_cache, must_revalidate), fields = orjson.loads(packed[5:end])
    reason, tenant, target = (text.encode("latin-1").decode("utf-8", "surrogateescape") for text in texts)
    return Stored(
        status=status,
        reason=reason,
        fields=tuple((name.encode("latin-1"), value.encode("latin-1")) for name, value in fields),
        body=packed[end:],
        at_us=now_us,
        age_us=age_us + here_us,
        fresh_us=times[0],
        revalidate_us=times[1],
        error_us=times[2],
        no_cache=no_cache,
        must_revalidate=must_revalidate,
        tenant=tenant,
        target=target,
        stamp=stamp,
    )


def decode_found(reply: Sequence[Any], known: Stored | None, vary: tuple[bytes, ...], now_us: int) -> Found:
    """The reply to `find`.

    known, vary  what the asker has; now_us: its clock
    """
    server_us, there, names, stamp, put_us, packed, fetches = reply
    other = tuple(name for name in names.split(b",") if name)
    if there and other != vary:
        return Found(other)
    text, stored = stamp.decode(), None
    if text and known is not None and known.stamp == text:
        stored = replace(known, at_us=now_us, age_us=known.age_now_us(now_us))
    elif text:
        stored = unpack_answer(packed, here_us=max(0, server_us - put_us), now_us=now_us, stamp=text)
    return Found(None, stored, fetches.decode())


def _digest(data: bytes) -> str:
    return blake2b(data, digest_size=16).hexdigest()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
