"""Fields that each call has of its own: `X-Request-Id` and `traceparent`, cut out of what callers repeat."""

import re
from typing import NamedTuple

from gateway.wire.head import Headers

_SANE_ID = r"[A-Za-z0-9._~+/=:@-]{1,128}"  # any other is replaced by one of ours
_REQUEST_ID = re.compile(_SANE_ID)
_OWN_EACH_CALL = re.compile(
    rb"\r\n(?:[Xx]-[Rr]equest-[Ii][Dd]: (" + _SANE_ID.encode() + rb")"
    rb"|[Tt]raceparent: (00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}))(?=\r\n)"
)


class Ids(NamedTuple):
    """What this call alone says: the values of X-Request-Id and traceparent, None for none that can be used."""

    request_id: str | None
    traceparent: str | None


NO_IDS = Ids(None, None)


def cut(block: bytes) -> tuple[bytes, Ids]:
    """The block without the fields that are each call's own, and these. Only well-formed ones, and one of each."""
    parts = _OWN_EACH_CALL.split(block)  # what is kept, an id or None, a parent or None, what is kept, and so on
    if len(parts) not in (4, 7):
        return block, NO_IDS
    request_id, parent = parts[1] or parts[-3], parts[2] or parts[-2]
    if len(parts) == 7 and (request_id is None or parent is None):  # it is said twice
        return block, NO_IDS
    return b"".join(parts[::3]), Ids(_text(request_id), _text(parent))


def _text(given: bytes | None) -> str | None:
    return None if given is None else given.decode("ascii")


def ids_of(headers: Headers) -> Ids:
    """The same of fields that were parsed."""
    request_id = headers.get("X-Request-Id", "")
    parents = headers.getall("traceparent", ())
    return Ids(request_id if _REQUEST_ID.fullmatch(request_id) else None, parents[0] if len(parents) == 1 else None)
