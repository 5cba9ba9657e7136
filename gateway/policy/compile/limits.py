"""Key parts and limits: from what was written to the frozen values that calls are decided with."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC
from functools import singledispatch
from itertools import combinations
from math import gcd
from typing import Any
from zoneinfo import ZoneInfo

from gateway.core import limits as core
from gateway.core.algorithms.bounds import MAX_WINDOW_US, max_entries, out_of_bounds
from gateway.core.calendars import USUAL_US, Calendar, Unit
from gateway.core.keys import KeyFrom, KeyPart, OnMissing
from gateway.core.units import SECOND_US
from gateway.policy.compile.references import check_twice
from gateway.policy.findings import Where, quoted
from gateway.policy.gather import Draft, Entry
from gateway.policy.models import key_parts
from gateway.policy.models import policies as models
from gateway.policy.models.scalars import OWN_EACH_CALL
from gateway.policy.nodes import Node
from gateway.policy.validate import validate

MANY_ENTRIES = 100_000
MIN_LEASE_US = SECOND_US
_Values = frozenset[tuple[str, str]]


def compile_keys(draft: Draft) -> dict[str, KeyPart]:
    """The key parts by name."""
    return {entry.name: _key_part(entry, draft) for entry in draft.valid("keys")}


def _key_part(entry: Entry, draft: Draft) -> KeyPart:
    key: key_parts.Key = entry.model
    source_name = key.claim if isinstance(key, key_parts.JwtKey) else getattr(key, "name", "")
    if isinstance(key, key_parts.HeaderKey | key_parts.ApiKeyKey) and source_name in OWN_EACH_CALL:
        message = f"{source_name} names a call, not who is calling"
        draft.findings.error(entry.node.at("name").where, "bad-header-name", message)
    prefix = key.ipv6_prefix if isinstance(key, key_parts.ClientIpKey) else 64
    return KeyPart(entry.name, KeyFrom(key.source), source_name, OnMissing(key.on_missing), prefix)


def compile_limits(draft: Draft) -> dict[str, core.Limit]:
    """The limits by name. One that cannot be counted with is reported and left out."""
    compiled = {entry.name: _compile(entry, draft) for entry in draft.valid("limits")}
    return {name: limit for name, limit in compiled.items() if limit is not None}


def _compile(entry: Entry, draft: Draft) -> core.Limit | None:
    model: models.AnyLimit = entry.model
    check_twice(model.key, entry.node.at("key"), "key part {} stands twice in this key", draft.findings)
    _check_zone(model, entry.node, draft)
    limit = core.Limit(
        name=entry.name,
        key=model.key,
        mode=core.Mode(model.mode),
        charge=core.ChargePer(model.charge),
        on_store_error=core.Posture(model.on_store_error),
        status=model.refusal.status,
        detail=model.refusal.detail or "",
        source=entry.source,
        **numbers(model),
    )
    overrides = tuple(_overrides(entry, limit, draft))
    shadow = _shadow(entry, limit, draft)
    return replace(limit, overrides=overrides, shadow=shadow) if _countable(limit, entry.node.named, draft) else None


def _check_zone(model: Any, node: Node, draft: Draft) -> None:
    """A time zone that `node` names must mean something: what is measured in hours begins at the same time anywhere."""
    zone = node.child("timezone")
    if zone is not None and zone.value is not None and not isinstance(getattr(model, "window", None), Unit):
        hint = "`window: 1d` begins at midnight UTC, `window: day` at local midnight"
        draft.findings.error(zone.where, "useless-timezone", "a time zone is for day, week or month only", hint)


@singledispatch
def numbers(model: Any) -> Mapping[str, Any]:
    """The numeric fields of `core.Limit`, algorithm included."""
    raise TypeError(model)


@numbers.register
def _rolling(model: models.RollingWindow) -> Mapping[str, Any]:
    quantum_us = -(-model.window // model.precision) if model.precision else 1
    return {
        "algorithm": core.Algorithm.ROLLING_WINDOW,
        "quota": model.limit,
        "window_us": model.window,
        "quantum_us": quantum_us,
    }


@numbers.register
def _fixed(model: models.FixedWindow) -> Mapping[str, Any]:
    fixed = {"algorithm": core.Algorithm.FIXED_WINDOW, "quota": model.limit}
    if not isinstance(model.window, Unit):
        return {**fixed, "window_us": model.window, "calendar": None}
    zone = UTC if model.timezone in (None, "UTC") else ZoneInfo(model.timezone)
    return {**fixed, "window_us": USUAL_US[model.window], "calendar": Calendar(model.window, zone)}


@numbers.register
def _bucket(model: models.TokenBucket) -> Mapping[str, Any]:
    common = gcd(model.rate, model.per)
    rate, per_us = model.rate // common, model.per // common
    burst = model.burst or model.rate
    refill_us = -(-burst * per_us // rate)
    return {
        "algorithm": core.Algorithm.TOKEN_BUCKET,
        "quota": burst,
        "window_us": refill_us,
        "rate": rate,
        "per_us": per_us,
        "times": common,
    }


@numbers.register
def _concurrency(model: models.Concurrency) -> Mapping[str, Any]:
    return {"algorithm": core.Algorithm.CONCURRENCY, "quota": model.limit, "window_us": model.lease}


def _overrides(entry: Entry, limit: core.Limit, draft: Draft) -> Iterator[core.Override]:
    earlier: dict[_Values, int] = {}
    for index, override in enumerate(entry.model.overrides):
        node = entry.node.at("overrides", index)
        _check_override(override, node, draft)
        wider = next((earlier[some] for some in _parts_of(override.match) if some in earlier), None)
        if wider is not None:
            message = f"this override never applies: the one on line {wider} matches first"
            draft.findings.warn(node.where, "never-applies", message)
        earlier.setdefault(frozenset(override.match.items()), node.where.line)
        changed = override.model_dump(exclude={"match", "mode"}, exclude_none=True)
        model = entry.model.model_copy(update=changed)
        _check_zone(model, node, draft)
        merged = numbers(model)
        mode = core.Mode(override.mode or entry.model.mode)
        other = replace(limit, mode=mode, source=str(node.where), **merged)
        if _countable(other, node.where, draft):
            yield core.Override(tuple(override.match.items()), other)


def _parts_of(match: Mapping[str, str]) -> Iterator[_Values]:
    """Every selection of the values in `match`: whoever asks for no more than that matches whenever `match` does."""
    for size in range(1, len(match) + 1):
        yield from map(frozenset, combinations(match.items(), size))


def _check_override(override: Any, node: Node, draft: Draft) -> None:
    if not override.model_dump(exclude={"match"}, exclude_none=True):
        draft.findings.error(node.where, "empty", "this override changes nothing", "give it a mode or numbers")


def _shadow(entry: Entry, limit: core.Limit, draft: Draft) -> core.Limit | None:
    """The variant as a limit of its own: same key, counters of its own, never refuses."""
    if entry.model.shadow is None:
        return None
    node = entry.node.at("shadow")
    model = validate(node, models.Limit, draft.findings, _variant(entry, node))
    if model is None:
        return None
    _check_zone(model, node, draft)
    if limit.mode is core.Mode.OFF:
        message = "nothing is tried of a limit that is off"
        draft.findings.warn(node.named, "never-applies", message, "mode: shadow refuses nobody either")
    own = {"calendar": None, **numbers(model)}
    shadow = replace(limit, name=limit.name + core.VARIANT, mode=core.Mode.SHADOW, source=str(node.named), **own)
    return shadow if _countable(shadow, node.named, draft) else None


def _variant(entry: Entry, node: Node) -> dict[str, Any]:
    """What the variant says, filled up from the limit as far as the algorithm is the same."""
    own, real = node.plain(), entry.node.plain()
    assert isinstance(own, dict)
    assert isinstance(real, dict)
    same = own.get("algorithm") in (None, real["algorithm"])
    kept = {name: value for name, value in real.items() if name not in ("mode", "overrides", "shadow")}
    base = kept if same else {"key": real["key"]}
    return {**base, **{name: value for name, value in own.items() if value is not None}}


def _countable(limit: core.Limit, where: Where, draft: Draft) -> bool:
    """Report numbers that cannot be counted exactly, and a log that gets long."""
    reason = out_of_bounds(limit)
    if limit.algorithm is core.Algorithm.TOKEN_BUCKET and limit.window_us > MAX_WINDOW_US:
        reason = "an empty bucket would take more than 800 days to fill"
    if limit.algorithm is core.Algorithm.CONCURRENCY and limit.window_us < MIN_LEASE_US:
        reason = "a lease has to last 1s or longer, so that it can be renewed in time"
    if reason is not None:
        draft.findings.error(where, "out-of-range", f"limit {quoted(limit.name)} cannot be counted: {reason}")
    elif limit.algorithm is core.Algorithm.ROLLING_WINDOW and max_entries(limit) > MANY_ENTRIES:
        message = f"limit {quoted(limit.name)} keeps up to {max_entries(limit):,} entries per key in the store"
        draft.findings.warn(where, "large-window", message, "`precision: 60` bounds that")
    return reason is None
