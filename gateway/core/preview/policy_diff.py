"""What is different between two policy sets: what came, what went, what changed, and which limits got tighter.

Says nothing about secrets: of schemes of authentication and of credentials it names what changed, never a value.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from enum import Enum, StrEnum
from typing import Any, NamedTuple

from gateway.core.classes import Classes, Rule, statuses_in_words
from gateway.core.guards import Breaker
from gateway.core.keys import KeyPart
from gateway.core.limits import Algorithm, Limit, Override
from gateway.core.policy import PolicySet, Route
from gateway.core.preview.policy_effect import LESS, MORE, Effect, effect, together

SECRET = ("authentication", "credentials")
"""Sections of which no value is told."""


class What(StrEnum):
    """What happened to a named thing."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


class Field(NamedTuple):
    """One changed field; `before` and `after` are JSON values, None where they are not told."""

    name: str
    before: Any
    after: Any


class Difference(NamedTuple):
    """One named thing that is not as it was.

    section  of the policy files: limits, routes, upstreams, keys, retries, breakers, authentication, credentials,
             error_classes
    name     "" for the error classes where only their order changed, which decides where several fit
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
        found += _compared_classes(old.classes, new.classes)
    return tuple(found)


def counts(differences: Sequence[Difference]) -> dict[str, int]:
    """How many there are of each kind, and how many limits got tighter or looser, for one line of a log."""
    words = [one.what.value for one in differences]
    words += [one.effect.value for one in differences if one.section == "limits" and one.effect]
    return {word: words.count(word) for word in dict.fromkeys(words)}


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


def _compared_classes(old: Classes, new: Classes) -> list[Difference]:
    """Of classes of which some outcome is no longer what it was."""
    order = Field("order", [*old.own], [*new.own])
    return [*_compared("error_classes", old.own, new.own)] or [
        Difference("error_classes", "", What.CHANGED, fields=(order,))
    ]


def _effect(before: Any, after: Any) -> Effect:
    if isinstance(before, Limit):
        return effect(before, after)
    if isinstance(before, Route):
        gone = {limit.name for limit in before.limits} - {limit.name for limit in after.limits}
        come = {limit.name for limit in after.limits} - {limit.name for limit in before.limits}
        return together([LESS] * len(come) + [MORE] * len(gone))
    return Effect.NONE


def _fields(before: Any, after: Any, *, secret: bool) -> Iterator[Field]:
    """What changed, but for where it stands."""
    if type(before) is not type(after):
        yield Field("type", type(before).__name__, type(after).__name__)
        return
    if isinstance(before, Rule):
        was, now = _rule(before), _rule(after)
        yield from (Field(name, was[name], now[name]) for name in was if was[name] != now[name])
        return
    if isinstance(before, Limit):
        before, after = _placeless(before), _placeless(after)
    left_out = _left_out(before, after)
    for name in (field.name for field in fields(before) if field.init and field.name not in left_out):
        if secret:
            if getattr(before, name) != getattr(after, name):
                yield Field(name, None, None)
        elif not _alike(before, after, name):
            yield Field(_written(after, name), _shown(before, name), _shown(after, name))


def _rule(rule: Rule) -> dict[str, Any]:
    """An error class as policies write it."""
    one = rule.error_class
    return {
        "status": statuses_in_words(rule.statuses),
        "error": sorted(rule.kinds),
        "retry": one.retry,
        "breaker": one.breaker.value,
        "pause": one.pause,
        "connection_state": one.condition.value if one.condition is not None else None,
    }


def _left_out(before: Any, after: Any) -> set[str]:
    """What nobody has written: where it stands, and what follows from the rest."""
    if isinstance(before, KeyPart):
        return {"times"}
    follows: set[str] = set()
    if isinstance(before, Limit) and before.algorithm is after.algorithm is Algorithm.TOKEN_BUCKET:
        follows = {"window_us"}  # what filling up takes
    elif isinstance(before, Breaker):
        follows = {"permit_us", "probe_us"}  # from the time-outs of the upstreams that it is used for
    return {"times", "source"} | follows


def _alike(before: Any, after: Any, name: str) -> bool:
    """Whether there is nothing to tell of a field: it is the same, or looks the same."""
    if isinstance(before, Limit) and name in ("rate", "per_us"):  # 60 per 1m and 1 per 1s are the same
        alike = (before.rate, before.per_us) == (after.rate, after.per_us)
    else:
        alike = getattr(before, name) == getattr(after, name)
    return alike or _shown(before, name) == _shown(after, name)


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
    if isinstance(value, Limit):  # a shadow
        return {"algorithm": value.algorithm.value} | _numbers(value)
    if isinstance(value, Override):
        return {"match": dict(value.match), "mode": value.limit.mode.value} | _numbers(value.limit)
    if isinstance(value, Mapping):
        return {str(_plain(key)): _plain(one) for key, one in value.items()}
    if isinstance(value, frozenset):
        return sorted(str(_plain(one)) for one in value)
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if not hasattr(value, "__dataclass_fields__"):
        return str(value)  # fixtures, by the digest of what they hold
    if "source" in value.__dataclass_fields__:
        return value.name
    return {field.name: _plain(getattr(value, field.name)) for field in fields(value) if field.init}


def _numbers(limit: Limit) -> dict[str, Any]:
    """What an override or a shadow may say otherwise than its limit, as policies call it."""
    if limit.calendar is not None:
        return {"limit": limit.quota, "window": str(limit.calendar)}
    bucket = limit.algorithm is Algorithm.TOKEN_BUCKET
    names = ("rate", "per_us", "quota") if bucket else ("quota", "window_us")
    told = {_written(limit, name): _shown(limit, name) for name in names}
    return told | {"quantum_us": limit.quantum_us} if limit.quantum_us > 1 else told


def _placeless(limit: Limit) -> Limit:
    """Equal to another one when both decide alike, wherever they stand."""
    overrides = tuple(replace(one, limit=_placeless(one.limit)) for one in limit.overrides)
    shadow = _placeless(limit.shadow) if limit.shadow is not None else None
    return replace(limit, source="", overrides=overrides, shadow=shadow)
