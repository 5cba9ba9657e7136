"""Webhooks of others: who they claim to come from, whether that is so, and what is odd about them.

Everything here is decided from the request's fields and body alone, before anything is stored.
"""

import hmac
import json
import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from hashlib import sha256
from typing import Any, NamedTuple

from gateway.core.units import DAY_US, SECOND_US
from gateway.core.webhooks.receivers import Receiver
from gateway.core.webhooks.signatures import signed

ROUTE, LIMIT = "intake:", "intake."
"""What stands before the name of a source where lines of the log say the route (no route of a policy begins so), and in
the name of its own limit."""
LATE = "l"
LONGEST_ID = 256
LONGEST_PLACE = 30
"""Digits: numbers as long as those in which others count nanoseconds, or everything they have."""
_UNSIGNABLE = re.compile(r"[^!-~]|[.%]")


class Scheme(Enum):
    """How a source shows who it is."""

    STANDARD = "standard"
    HMAC = "hmac"
    BASIC = "basic"


@dataclass(frozen=True, slots=True)
class Source:
    """Somebody who sends webhooks.

    keys              of signatures, any of them is enough; for BASIC `user:password`
    header, prefix    HMAC: the field with the signature of the body, and what stands before it
    encoding          HMAC: hex or base64
    id_header         what tells a repeated webhook from a new one; "" = its body
    timestamp_header  seconds since the epoch; "" = nothing says when it was sent
    tolerance_us      by how much a signed timestamp may differ from our clock
    late_us           older ones are marked
    order_by          where the key is whose webhooks are delivered in order: `header:Name` or a JSON pointer
                      (RFC 6901) into the body; "" = in no order
    place             where a number is that rises from one to the next, likewise; "" = the timestamp
    seen_us           for how long ids are remembered
    rate, per_us      webhooks taken in so much time; 0 = any number
    to                who gets them
    """

    name: str
    scheme: Scheme
    keys: tuple[bytes, ...] = field(repr=False)
    to: tuple[Receiver, ...]
    header: str = ""
    prefix: str = ""
    encoding: str = "hex"
    id_header: str = ""
    timestamp_header: str = ""
    tolerance_us: int = 300 * SECOND_US
    late_us: int = 60 * SECOND_US
    order_by: str = ""
    place: str = ""
    max_bytes: int = 1024 * 1024
    time_us: int = 10 * SECOND_US
    seen_us: int = 3 * DAY_US
    most_waiting: int = 100_000
    rate: int = 0
    per_us: int = SECOND_US


_NOT_SIGNED = "The webhook is not signed as this source signs."
_NOT_FROM_THERE = {Scheme.BASIC: "The user or the password is wrong."}


class Rejected(Exception):
    """It is not from that source, or not to be understood. The text is ours."""

    def __init__(self, reason: str, text: str, *, forged: bool = False) -> None:
        super().__init__(text)
        self.reason = reason
        self.forged = forged


class Understood(NamedTuple):
    """A webhook that is what it claims to be. key "" = in no order; place None = not known."""

    id: str
    key: str
    place: int | None
    marks: str


def understand(source: Source, fields: Mapping[str, str], body: bytes, now_us: int) -> Understood:
    """What there is to know of it. Raises Rejected. `fields` are looked up whatever their case.

    An id is that of the source: standing in a field that is not signed (HMAC, basic), it is as good as whoever sends.
    It is passed on in signatures over `id.timestamp.body`, which a full stop in it would make ambiguous: what is signed
    so already has none, and elsewhere it is written `%2E`.
    """
    id_ = fields.get(source.id_header, "") if source.id_header else sha256(body).hexdigest()
    timestamp = fields.get(source.timestamp_header, "") if source.timestamp_header else ""
    _check(source, fields, id_, timestamp, body)
    id_ = _id(source, id_)
    sent_us = _sent_us(source, timestamp, now_us)
    document = _document(source, body)
    key = _value(source.order_by, fields, document)
    marks = LATE if sent_us is not None and now_us - sent_us > source.late_us else ""
    return Understood(id_, "" if key is None else str(key), _place(source, fields, document, sent_us), marks)


def _id(source: Source, text: str) -> str:
    """What it is called from now on. Raises Rejected."""
    if not 0 < len(text) <= LONGEST_ID or not text.isprintable():
        raise Rejected("no_id", f"{source.id_header} must have 1 to {LONGEST_ID} characters.")
    if source.scheme is not Scheme.STANDARD:
        return _UNSIGNABLE.sub(_escaped, text)
    if "." in text:
        raise Rejected("no_id", f"{source.id_header} must have no full stop: signatures could be read in two ways.")
    return text


def _escaped(found: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in found[0].encode())


def _check(source: Source, fields: Mapping[str, str], id_: str, timestamp: str, body: bytes) -> None:
    """Whether it is from there. How long that takes does not say how wrong it is."""
    if source.scheme is Scheme.STANDARD:
        right = signed(source.keys, id_, timestamp, body, fields.get("webhook-signature", ""))
    elif source.scheme is Scheme.HMAC:
        right = _hmac_right(source, fields.get(source.header, ""), body)
    else:
        right = _basic_right(source, fields.get("authorization", ""))
    if not right:
        raise Rejected("forged", _NOT_FROM_THERE.get(source.scheme, _NOT_SIGNED), forged=True)


def _hmac_right(source: Source, given: str, body: bytes) -> bool:
    right = False
    for key in source.keys:
        digest = hmac.digest(key, body, "sha256")
        expected = digest.hex() if source.encoding == "hex" else b64encode(digest).decode()
        right |= hmac.compare_digest((source.prefix + expected).encode(), given.encode("utf-8", "replace"))
    return right


def _basic_right(source: Source, given: str) -> bool:
    right = False
    for key in source.keys:
        scheme, _, credentials = given.partition(" ")
        same = hmac.compare_digest(b64encode(key), credentials.strip().encode("utf-8", "replace"))
        right |= same and scheme.lower() == "basic"
    return right


def _sent_us(source: Source, timestamp: str, now_us: int) -> int | None:
    """When it was sent; a signed one must be of about now (an old one may have been overheard)."""
    if not source.timestamp_header:
        return None
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 11):
        raise Rejected("bad_timestamp", f"{source.timestamp_header} must be seconds since 1970.")
    sent_us = int(timestamp) * SECOND_US
    if source.scheme is Scheme.STANDARD and abs(now_us - sent_us) > source.tolerance_us:
        raise Rejected("bad_timestamp", f"{source.timestamp_header} is too far from now.", forged=True)
    return sent_us


def _document(source: Source, body: bytes) -> Any:
    """The body as JSON, if something in it is asked for."""
    if not any(place.startswith("/") for place in (source.order_by, source.place)):
        return None
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise Rejected("not_json", "The body is not JSON.") from None


def _place(source: Source, fields: Mapping[str, str], document: Any, sent_us: int | None) -> int | None:
    if not source.place:
        return sent_us // SECOND_US if sent_us is not None and source.order_by else None
    value = _value(source.place, fields, document)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= LONGEST_PLACE:
        return int(value)
    if isinstance(value, int) and 0 <= value < 10**LONGEST_PLACE:
        return value
    return None


def _value(where: str, fields: Mapping[str, str], document: Any) -> str | int | None:
    """What is there: text or a whole number; None for anything else."""
    if not where:
        return None
    found = fields.get(where.removeprefix("header:")) if where.startswith("header:") else pointed(document, where)
    return found if isinstance(found, str | int) and not isinstance(found, bool) else None


def pointed(document: Any, pointer: str) -> Any:
    """What a JSON pointer leads to (RFC 6901); None when it leads nowhere."""
    for token in pointer.split("/")[1:]:
        name = token.replace("~1", "/").replace("~0", "~")
        if isinstance(document, dict):
            document = document.get(name)
        elif isinstance(document, list) and name.isascii() and name.isdigit() and int(name) < len(document):
            document = document[int(name)]
        else:
            return None
    return document
