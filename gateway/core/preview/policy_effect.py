"""Whether callers get less or more than before, under one limit."""

from collections.abc import Sequence
from enum import StrEnum

from gateway.core.limits import Algorithm, ChargePer, Limit, Mode, Posture

LESS, SAME, MORE, EITHER = -1, 0, 1, 2
"""Never more than before, the same, never less, it depends."""

_POSTURES = (Posture.ALLOW, Posture.LOCAL, Posture.DENY)
_CHARGES = (ChargePer.CALL, ChargePer.ATTEMPT)


class Effect(StrEnum):
    """What a change means for callers.

    NONE   they are not refused any more or any less
    MIXED  it depends on the caller, or on how it spreads its calls
    """

    NONE = ""
    TIGHTER = "tighter"
    LOOSER = "looser"
    MIXED = "mixed"


def effect(old: Limit, new: Limit) -> Effect:
    """Whether a caller gets less or more than before, under one limit."""
    signs = [_sign(old, new)]
    matches = dict.fromkeys(override.match for limit in (old, new) for override in limit.overrides)
    signs += [_sign(old.for_caller(dict(match)), new.for_caller(dict(match))) for match in matches]
    if old.key != new.key:
        signs.append(_key_sign(old.key, new.key))
    return together(signs)


def together(signs: Sequence[int]) -> Effect:
    """What several of `LESS`, `SAME`, `MORE`, `EITHER` mean together."""
    return {SAME: Effect.NONE, LESS: Effect.TIGHTER, MORE: Effect.LOOSER, EITHER: Effect.MIXED}[_added(signs)]


def _sign(old: Limit, new: Limit) -> int:
    if Mode.ENFORCE not in (old.mode, new.mode):
        return SAME  # neither refuses anybody
    if old.mode is not new.mode:
        return LESS if new.mode is Mode.ENFORCE else MORE
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
        return SAME
    return MORE if set(new) > set(old) else LESS if set(new) < set(old) else EITHER


def _compare(before: float, after: float) -> int:
    return (after > before) - (after < before)


def _added(signs: Sequence[int]) -> int:
    """What several signs are together."""
    seen = {sign for sign in signs if sign}
    return seen.pop() if len(seen) == 1 else EITHER if seen else SAME
