"""What is different between two policy sets: what came, what went, what changed, and which limits got tighter.

Says nothing about secrets: of schemes of authentication and of credentials it names what changed, never a value.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from enum import Enum, StrEnum
from typing import Any, NamedTuple

from gateway.core.keys import KeyPart
from gateway.core.limits import Algorithm, ChargePer, Limit, Mode, Posture
from gateway.core.policy import PolicySet, Route

SECRET = ("authentication", "credentials")
"""Sections of which no value is told."""


class What(StrEnum):
    """What happened to a named thing."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


class Effect(StrEnum):
    """What that means for callers. NONE: they are not refused any more or any less; MIXED: it depends on the caller or
    on how it spreads its calls."""

    NONE = ""
    TIGHTER = "tighter"
    LOOSER = "looser"
    MIXED = "mixed"


class Field(NamedTuple):
    """One changed field; `before` and `after` are JSON values, None where they are not told."""

    name: str
    before: Any
    after: Any


class Difference(NamedTuple):
    """One named thing that is not as it was.

    section  of the policy files: limits, routes, upstreams, keys, retries, breakers, authentication, credentials,
             error_classes
    name     "" for the error classes, which are compared as a whole
    effect   of limits, and of routes by the limits they ask
    fields   what changed; () unless `what` is CHANGED
    source   `file:line` where it stands now, or stood
    """

    section: str
    name: str
    what: What
    effect: Effect = Effect.NONE
    fields: tuple[Field, ...] = ()
    source: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        document: dict[str, Any] = {"section": self.section, "name": self.name, "what": self.what.value}
        if self.effect:
            document["effect"] = self.effect.value
        if self.fields:
            document["fields"] = [one._asdict() for one in self.fields]
        return document | {"source": self.source}


def diff(old: PolicySet, new: PolicySet) -> tuple[Difference, ...]:
    """All differences, by section and name. () = callers cannot tell one set from the other."""
    found = [*_sections(old, new)]
    if (old.classes.statuses, old.classes.errors) != (new.classes.statuses, new.classes.errors):
        found.append(Difference("error_classes", "", What.CHANGED))
    return tuple(found)


def counts(differences: Sequence[Difference]) -> dict[str, int]:
    """How many there are of each kind, and how many limits got tighter or looser, for one line of a log."""
    words = [one.what.value for one in differences]
    words += [one.effect.value for one in differences if one.section == "limits" and one.effect]
    return {word: words.count(word) for word in dict.fromkeys(words)}


def effect(old: Limit, new: Limit) -> Effect:
    """Whether a caller gets less or more than before, under one limit."""
    signs = [_sign(old, new)]
    matches = dict.fromkeys(override.match for limit in (old, new) for override in limit.overrides)
    signs += [_sign(old.for_caller(dict(match)), new.for_caller(dict(match))) for match in matches]
    if old.key != new.key:
        signs.append(_key_sign(old.key, new.key))
    return _sum(signs)


def _sections(old: PolicySet, new: PolicySet) -> Iterator[Difference]:
    routes = {route.name: route for route in old.routes}, {route.name: route for route in new.routes}
    yield from _compared("limits", old.limits, new.limits)
    yield from _compared("routes", *routes)
    for section in ("upstreams", "keys", "retries", "breakers", "authentication", "credentials"):
        yield from _compared(section, getattr(old, section), getattr(new, section))


def _compared(section: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Difference]:
    for name in sorted({*old, *new}):
        before, after = old.get(name), new.get(name)
        source = _source(before if after is None else after)
        if before is None:
            gained = Effect.TIGHTER if section == "limits" else Effect.NONE
            yield Difference(section, name, What.ADDED, gained, (), source)
        elif after is None:
            lost = Effect.LOOSER if section == "limits" else Effect.NONE
            yield Difference(section, name, What.REMOVED, lost, (), source)
        else:
            changed = tuple(_fields(before, after, secret=section in SECRET))
            if changed:
                yield Difference(section, name, What.CHANGED, _effect(before, after), changed, source)


def _effect(before: Any, after: Any) -> Effect:
    if isinstance(before, Limit):
        return effect(before, after)
    if isinstance(before, Route):
        gone = {limit.name for limit in before.limits} - {limit.name for limit in after.limits}
        come = {limit.name for limit in after.limits} - {limit.name for limit in before.limits}
        return _sum([-1] * len(come) + [1] * len(gone))
    return Effect.NONE


def _fields(before: Any, after: Any, *, secret: bool) -> Iterator[Field]:
    """What changed, but for where it stands."""
    if type(before) is not type(after):
        yield Field("type", type(before).__name__, type(after).__name__)
        return
    if isinstance(before, Limit) and (before.rate, before.per_us) == (after.rate, after.per_us):
        before = replace(before, times=after.times)  # 60 per 1m and 1 per 1s are the same
    left_out = {"times"} if isinstance(before, KeyPart) else {"times", "source"}
    if isinstance(before, Limit) and before.algorithm is after.algorithm is Algorithm.TOKEN_BUCKET:
        left_out.add("window_us")  # what filling up takes: follows from the others
    for field in fields(before):
        if not field.init or field.name in left_out:
            continue
        if secret:
            if getattr(before, field.name) != getattr(after, field.name):
                yield Field(field.name, None, None)
            continue
        old, new = _shown(before, field.name), _shown(after, field.name)
        if old != new:
            yield Field(_written(after, field.name), old, new)


def _written(thing: Any, name: str) -> str:
    """What policies call a field; the numbers of limits have other names there."""
    if not isinstance(thing, Limit):
        return name
    if name == "quota":
        return "burst" if thing.algorithm is Algorithm.TOKEN_BUCKET else "limit"
    return "lease_us" if name == "window_us" and thing.algorithm is Algorithm.CONCURRENCY else name


def _source(thing: Any) -> str:
    """Where it stands; "" where that is not known. The `source` of a key part is something else."""
    return "" if isinstance(thing, KeyPart) else getattr(thing, "source", "")


def _shown(thing: Any, name: str) -> Any:
    """One field. The limits of a route by name: how they changed is told of them."""
    if isinstance(thing, Limit) and name in ("rate", "per_us"):
        return thing.said[name == "per_us"]
    value = getattr(thing, name)
    return [limit.name for limit in value] if isinstance(thing, Route) and name == "limits" else _plain(value)


def _plain(value: Any) -> Any:
    """As JSON has it, without places in files; what has a name and a section of its own by that name."""
    if isinstance(value, Enum):
        return value.value
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(_plain(key)): _plain(one) for key, one in value.items()}
    if isinstance(value, frozenset):
        return sorted(str(_plain(one)) for one in value)
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if not hasattr(value, "__dataclass_fields__"):
        return str(value)  # fixtures, by the digest of what they hold
    if not isinstance(value, Limit) and "source" in value.__dataclass_fields__:
        return value.name
    shown = (field for field in fields(value) if field.init and field.name not in ("source", "times"))
    return {field.name: _plain(getattr(value, field.name)) for field in shown}


# Tighter or looser ------------------------------------------------------------------------------------

_POSTURES = (Posture.ALLOW, Posture.LOCAL, Posture.DENY)
_CHARGES = (ChargePer.CALL, ChargePer.ATTEMPT)
_BOTH = 2


def _sign(old: Limit, new: Limit) -> int:
    """-1 = never more than before, 1 = never less, 0 = the same, _BOTH = it depends."""
    if Mode.ENFORCE not in (old.mode, new.mode):
        return 0  # neither refuses anybody
    if old.mode is not new.mode:
        return -1 if new.mode is Mode.ENFORCE else 1
    signs = [
        _compare(_burst(old, new), _burst(new, old)),
        _compare(_lasting(old), _lasting(new)),
        _compare(_POSTURES.index(new.on_store_error), _POSTURES.index(old.on_store_error)),
        _compare(_CHARGES.index(new.charge), _CHARGES.index(old.charge)),
        _compare(new.quantum_us, old.quantum_us),
    ]
    return _added(signs)


def _burst(limit: Limit, other: Limit) -> int:
    """Units at once at most; a fixed window lets its quota through on both sides of a border."""
    twice = limit.algorithm is Algorithm.FIXED_WINDOW and other.algorithm is not Algorithm.FIXED_WINDOW
    return limit.quota * 2 if twice else limit.quota


def _lasting(limit: Limit) -> float:
    """Units a microsecond that can be had for ever. Of slots as many as there are."""
    if limit.algorithm is Algorithm.CONCURRENCY:
        return float("inf")
    return limit.rate / limit.per_us if limit.rate else limit.quota / limit.window_us


def _key_sign(old: Sequence[str], new: Sequence[str]) -> int:
    """Who is counted by more parts has a counter of its own and so more."""
    if set(old) == set(new):
        return 0
    return 1 if set(new) > set(old) else -1 if set(new) < set(old) else _BOTH


def _compare(before: float, after: float) -> int:
    return (after > before) - (after < before)


def _added(signs: Sequence[int]) -> int:
    """What several signs are together."""
    seen = {sign for sign in signs if sign}
    return seen.pop() if len(seen) == 1 else _BOTH if seen else 0


def _sum(signs: Sequence[int]) -> Effect:
    return {0: Effect.NONE, -1: Effect.TIGHTER, 1: Effect.LOOSER, _BOTH: Effect.MIXED}[_added(signs)]
