"""How reports about connections are written for `store/lua/status.lua`, and how its replies are read.

The header of the script describes the format; a test holds both together.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson

from gateway.core.connections.counts import Bucket, Counts
from gateway.core.connections.state import ConnectionState, Failure, Named, Report, Status, Track, Transition
from gateway.core.keys import encode_part
from gateway.store.connection.link import Argument
from gateway.store.scripts.sources import load_script

STATUS = load_script("status", "clock", "connection_counts", "connection_state", "status")
TAG = "connections:{status}:"
"""Behind the prefix, in front of everything: one hash tag. Keys of limits never have it, their tags begin otherwise."""

STATUS_ARGV = ("op", "now_us", "base")
REPORT_FIELDS = ("member", "tenant", "connection", *(name for name in Report._fields if name != "failure"), "failure")
STATUS_REPLY = ("now_us", "transitions", "body")

LETTERS = dict(zip(ConnectionState, "abcdef", strict=True))


class Page(NamedTuple):
    """Some of the connections, worst first, then by name. `after`: where a next page begins; "" = there is none."""

    statuses: tuple[Status, ...]
    after: str


def member_of(named: Named) -> str:
    """What the store calls a connection. Different ones never share it."""
    return f"{encode_part(named.connection)}:{encode_part(named.tenant or None)}:"


def beginning_of(connection: str, tenant: str | None) -> str:
    """What the members of all connections begin with that have this name; with a tenant it is one member."""
    return f"{encode_part(connection)}:" if tenant is None else member_of(Named(tenant, connection))


def encode_reports(reports: Sequence[tuple[Named, Report]], prefix: str, *, now_us: int) -> list[Argument]:
    """The arguments of STATUS after the sha for the op `report`. No connection twice."""
    members = [member_of(named) for named, _ in reports]
    base = prefix + TAG
    packed = [_pack(member, *about) for member, about in zip(members, reports, strict=True)]
    return [3 + len(members), *_sets(base), *(base + member for member in members), "report", now_us, base, *packed]


def encode_find(beginning: str, prefix: str, *, now_us: int) -> list[Argument]:
    """The arguments for the op `find`."""
    base = prefix + TAG
    return [3, *_sets(base), "find", now_us, base, beginning]


def encode_page(
    states: Sequence[ConnectionState], after: str, count: int, prefix: str, *, now_us: int
) -> list[Argument]:
    """The arguments for the op `page`."""
    base = prefix + TAG
    return [3, *_sets(base), "page", now_us, base, "".join(LETTERS[state] for state in states), after, count]


def _sets(base: str) -> tuple[str, str, str]:
    return f"{base}seen", f"{base}states", f"{base}due"


def _pack(member: str, named: Named, report: Report) -> bytes:
    rows, *numbers, failure = report
    values = ["" if value is None else value for value in numbers]
    return orjson.dumps((member, *named, [tuple(row) for row in rows], *values, tuple(failure)))


def decode_states(body: Sequence[bytes]) -> tuple[ConnectionState, ...]:
    """The states in the reply to `report`."""
    return tuple(ConnectionState(state.decode()) for state in body)


def decode_transitions(transitions: Sequence[Any]) -> list[Transition]:
    """What changed, in any reply."""
    return [
        Transition(ConnectionState(before.decode()), since_us, decode_status(flat))
        for before, since_us, flat in transitions
    ]


def decode_page(body: Sequence[Any], count: int) -> Page:
    """The reply to `page`."""
    statuses = tuple(decode_status(flat) for _, flat in body)
    return Page(statuses, body[-1][0].decode() if len(body) == count else "")


def decode_status(flat: Sequence[Any]) -> Status:
    """One connection as the script's `flat` writes it."""
    tenant, connection, state, since_us, *plain = map(_text, flat[:17])
    kept = dict(zip(Track._fields[2:15], plain, strict=True))
    kept["denied"] = ConnectionState(kept["denied"]) if kept["denied"] else None
    failure, refusals = Failure(*map(_text, flat[17])), [_text(one) for one in flat[18]]
    shut = tuple(zip(refusals[::2], refusals[1::2], strict=True))
    buckets = tuple(map(_bucket, flat[19:]))
    track = Track(ConnectionState(state), since_us, **kept, failure=failure, shut=shut, buckets=buckets)
    return Status(Named(tenant, connection), track)


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


def _bucket(flat: Sequence[Any]) -> Bucket:
    rows = {(flat[at].decode(), flat[at + 1].decode()): Counts(*flat[at + 2 : at + 5]) for at in range(1, len(flat), 5)}
    return Bucket(flat[0], rows)
