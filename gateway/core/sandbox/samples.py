"""Sample records of a sandbox, and the bodies made of them: pages, single records, what a write would have written."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote

from gateway.core.problems import SANDBOX_INVALID, SANDBOX_NO_FIXTURE, Refusal

MOST_PARAMETERS, MOST_COMPLAINTS = 50, 10

TYPES: Mapping[str, tuple[type, ...]] = {
    "text": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "list": (list,),
    "object": (dict,),
}
"""What a member may have to be, by the word that fixtures use."""


class Asked(NamedTuple):
    """A call as the sandbox sees it.

    method  upper case; path: raw, relative to what `strip_prefix` left; query: raw, without `?`
    headers as in `resolve.Asking`
    """

    method: str
    path: str
    query: str
    headers: Any
    body: bytes = b""


class Record(NamedTuple):
    """One sample record; `text` is it as JSON."""

    members: Mapping[str, Any]
    text: bytes


@dataclass(frozen=True, slots=True)
class Records:
    """Sample records of one kind.

    id_member           names the member that tells them apart
    by_id               in the order written
    required, optional  members of a record that is written, with the words of `TYPES`
    members             names of all that any record has, or may be written with; made from the others
    """

    name: str
    id_member: str
    by_id: Mapping[str, Record]
    required: Mapping[str, str] = field(default_factory=dict)
    optional: Mapping[str, str] = field(default_factory=dict)
    members: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        names = {*self.required, *self.optional}.union(*(one.members for one in self.by_id.values()))
        object.__setattr__(self, "members", frozenset(names))

    def complaints(self, members: Mapping[str, Any], *, partial: bool) -> list[str]:
        """What is wrong with a record that is written, in words of the fixture. `partial`: members may be missing."""
        found = []
        for name, type_ in {**self.optional, **self.required}.items():
            value = members.get(name)
            if value is None:
                if name in self.required and not (partial and name not in members):
                    found.append(f"{name} is missing")
            elif not isinstance(value, TYPES[type_]) or (isinstance(value, bool) and type_ != "boolean"):
                found.append(f"{name} must be {'an' if type_[0] in 'aeiou' else 'a'} {type_}")
        return found


@dataclass(frozen=True, slots=True)
class Whole:
    """Always the same body."""

    body: bytes

    def make(self, asked: Asked, parameters: Mapping[str, str]) -> bytes:
        """The same body for every call."""
        return self.body


@dataclass(frozen=True, slots=True)
class Listed:
    """Records, those whose members equal the query's parameters, a page at a time (`limit`, `offset`).

    wrap     the member that holds them; "" = they are the whole document
    page     records when the query does not say, `most` at most
    """

    records: Records
    wrap: str = "items"
    page: int = 50
    most: int = 100

    def make(self, asked: Asked, parameters: Mapping[str, str]) -> bytes | Refusal:
        """The page as JSON."""
        query = parameters_of(asked.query)
        if query is None:
            return Refusal(SANDBOX_INVALID, f"The query has more than {MOST_PARAMETERS} parameters.", "sandbox")
        limit = _number(query.get("limit", str(self.page)), 1, self.most)
        offset = _number(query.get("offset", "0"), 0, 999_999_999)
        if limit is None or offset is None:
            detail = f"limit must be a whole number from 1 to {self.most}, offset one from 0."
            return Refusal(SANDBOX_INVALID, detail, "sandbox")
        wanted = {name: value for name, value in query.items() if name in self.records.members}
        fitting = [one.text for one in self.records.by_id.values() if _fits(one.members, wanted)]
        items = b"[" + b",".join(fitting[offset : offset + limit]) + b"]"
        if not self.wrap:
            return items
        about = f',"total":{len(fitting)},"limit":{limit},"offset":{offset}}}'
        return b"{" + as_json(self.wrap) + b":" + items + about.encode()


@dataclass(frozen=True, slots=True)
class Found:
    """One record, named by a path parameter."""

    records: Records
    parameter: str

    def make(self, asked: Asked, parameters: Mapping[str, str]) -> bytes | Refusal:
        """The record as JSON."""
        record = self.records.by_id.get(unquote(parameters[self.parameter]))
        return _unknown(self.records) if record is None else record.text


@dataclass(frozen=True, slots=True)
class Written:
    """A write: checked, answered as if it had been done, and forgotten.

    parameter  the path parameter that names the record which is written over; "" = a new one
    """

    records: Records
    parameter: str = ""

    def make(self, asked: Asked, parameters: Mapping[str, str]) -> bytes | Refusal:
        """The record as it would be now."""
        records, before = self.records, None
        if self.parameter:
            before = records.by_id.get(unquote(parameters[self.parameter]))
            if before is None:
                return _unknown(records)
        if asked.method == "DELETE":
            return b""
        members = _read_object(asked.body)
        if isinstance(members, str):
            return Refusal(SANDBOX_INVALID, members, "sandbox")
        partial = before is not None and asked.method == "PATCH"
        wrong = records.complaints(members, partial=partial)
        if wrong:
            return Refusal(SANDBOX_INVALID, f"{'; '.join(wrong[:MOST_COMPLAINTS])}.", "sandbox")
        if before is not None:
            old = before.members if partial else {}
            members = {**old, **members, records.id_member: before.members[records.id_member]}
        else:
            members.setdefault(records.id_member, f"sandbox-{len(records.by_id) + 1}")
        return as_json(members)


def as_json(value: Any) -> bytes:
    """JSON as UTF-8. Raises ValueError for numbers that JSON cannot say."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.encode("utf-8", "backslashreplace")  # a lone surrogate can only be written as \udXXX


def parameters_of(query: str) -> Mapping[str, str] | None:
    """The first value of each parameter, None when there are too many."""
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=MOST_PARAMETERS)
    except ValueError:
        return None
    return dict(reversed(pairs))


def _fits(members: Mapping[str, Any], wanted: Mapping[str, str]) -> bool:
    return all(name in members and as_text(members[name]) == value for name, value in wanted.items())


def as_text(value: Any) -> str:
    """A scalar as the text that a URL has for it."""
    return value if isinstance(value, str) else as_json(value).decode()


def _number(text: str, least: int, most: int) -> int | None:
    number = int(text) if text.isascii() and text.isdecimal() and len(text) <= 9 else -1
    return number if least <= number <= most else None


def _unknown(records: Records) -> Refusal:
    return Refusal(SANDBOX_NO_FIXTURE, f"There is no such record among the samples of {records.name}.", "sandbox")


def _read_object(body: bytes) -> dict[str, Any] | str:
    """The members of a JSON object, or what is wrong with the body."""
    try:
        found = json.loads(body.decode())
        as_json(found)
    except (ValueError, RecursionError):
        return "The body is not JSON."
    return found if isinstance(found, dict) else "The body is not a JSON object."
