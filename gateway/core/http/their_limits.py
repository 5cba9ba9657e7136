"""An upstream's rate-limit fields beside ours: one list that can be read, in which none of theirs has a name of ours.

`RateLimit` and `RateLimit-Policy` are Lists of Strings with parameters (draft-ietf-httpapi-ratelimit-headers-08 and
later), and whoever cannot read one member throws away the whole field, ours with it (RFC 9651 §4.2). So what an
upstream says in the words of drafts -03 to -07 is said in today's, and what is no member of such a list is left out.

`X-RateLimit-Reset` has no standard: upstreams mean seconds, epochs or dates. Who reads ours on one answer and theirs on
the next has to find one unit.
"""

import re
from collections.abc import Collection, Iterator

from gateway.core.http.fields import lower
from gateway.core.http.framing import Fields
from gateway.core.http.signals import members, their_now
from gateway.core.http.timestamps import wait_us
from gateway.core.units import SECOND_US

# The alternatives of a value are in such an order that none is the beginning of a later one.
_TEXT = r'"(?:[ !#-\[\]-~]|\\["\\])*"'
_VALUE = rf"(?:-?\d{{1,12}}\.\d{{1,3}}|-?\d{{1,15}}|{_TEXT}|:[A-Za-z0-9+/=]*:|\?[01]|[A-Za-z*][!#-'*+\-./:^_`|~\w]*)"
_PARAMETERS = rf"(?:; *[a-z*][a-z0-9_.*-]*(?:={_VALUE})?)*"
_ITEM = re.compile(rf"({_TEXT})({_PARAMETERS})", re.ASCII)
_LIST = re.compile(rf"{_ITEM.pattern}(?:[ \t]*,[ \t]*{_ITEM.pattern})*", re.ASCII)
_QUOTA = re.compile(rf"(\d{{1,15}})({_PARAMETERS})", re.ASCII)
_PAIR = re.compile(r"(limit|remaining|reset)=(\d{1,15})", re.ASCII)
_EPOCH_SECONDS = re.compile(rb"[0-9]{10}").fullmatch


def beside(fields: Fields, ours: Collection[str]) -> Fields:
    """The answer's fields, with those about limits so that ours can stand beside them.

    ours  names of the limits that we tell of: theirs of the same name get the prefix `up-`
    """
    return tuple(field for field in (_joined(name, value, ours) for name, value in fields) if field is not None)


def with_reset_as_ours(fields: Fields, now_us: int, *, epoch: bool) -> Fields:
    """The answer's fields, with `X-RateLimit-Reset` in the unit in which we write it; without one that means nothing.

    now_us  epoch microseconds
    epoch   whether ours is epoch seconds, else it is seconds from now
    """
    theirs_us = their_now(fields, now_us)
    told: list[tuple[bytes, bytes]] = []
    for name, value in fields:
        if lower[name] != b"x-ratelimit-reset" or (epoch and _EPOCH_SECONDS(value)):
            told.append((name, value))
        elif (left_us := wait_us(value.decode("latin-1"), theirs_us)) is not None:
            told.append((name, b"%d" % -(-(left_us + (now_us if epoch else 0)) // SECOND_US)))
    return tuple(told)


def _joined(name: bytes, value: bytes, ours: Collection[str]) -> tuple[bytes, bytes] | None:
    known = lower[name]
    if known not in (b"ratelimit", b"ratelimit-policy"):
        return name, value
    said = value.decode("latin-1")
    if _LIST.fullmatch(said):
        items = _ITEM.findall(said)
    else:
        older = _dictionary if known == b"ratelimit" else _policies
        items = [*_items(said), *older(said)]
    told = ", ".join(f'"up-{item[1:]}{more}' if item[1:-1] in ours else item + more for item, more in items)
    return (name, told.encode("latin-1")) if told else None


def _items(said: str) -> Iterator[tuple[str, str]]:
    """(name in quotes, parameters) of each member that is one."""
    for member in members(said):
        if found := _ITEM.fullmatch(member):
            yield found[1], found[2]


def _policies(said: str) -> Iterator[tuple[str, str]]:
    """`100;w=60` of the older drafts: the quota has no name, so it is named by itself."""
    for member in members(said):
        if found := _QUOTA.fullmatch(member):
            yield f'"up-{found[1]}"', f";q={found[1]}{found[2]}"


def _dictionary(said: str) -> Iterator[tuple[str, str]]:
    """`limit=100, remaining=50, reset=5` of draft -07, about the policy `100;…`."""
    pairs = (_PAIR.fullmatch(member) for member in members(said))
    told = {pair[1]: pair[2] for pair in pairs if pair}
    if "remaining" in told:
        reset = f";t={told['reset']}" if "reset" in told else ""
        yield (f'"up-{told["limit"]}"' if "limit" in told else '"up"'), f";r={told['remaining']}{reset}"
