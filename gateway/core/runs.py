"""Calls that ask the same at the same moment, decided one after the other: what each of them is told.

A store may decide such calls in one go. It does it in runs: calls of which all were admitted, or none. Nothing but what
is left differs between the calls of a run, so what the last of them is told says what each of them is told.
"""

from collections.abc import Sequence
from typing import NamedTuple

from gateway.core.algorithms.token_bucket import ceil_div
from gateway.core.decision import units
from gateway.core.limits import Algorithm, Charge, Decision, Limit, Verdict
from gateway.core.tuples import made


class Run(NamedTuple):
    """So many calls, and what the last of them is told.

    calls  more than one only where an admission changes nothing but what limits have left: no probe, no counted pause,
           no slots
    last   but that `reset_us` of a token bucket is what is missing until it is full, in units times `per_us`
    """

    calls: int
    last: Decision


def told(run: Run, charges: Sequence[Charge]) -> list[Decision]:
    """What each call of the run is told, in their order.

    charges  what they were asked for, with the numbers that they were decided by: those of grants, if there are any
    """
    calls, (admitted, verdicts, now_us, standings, quotas) = run
    if not charges or not verdicts:
        return [run.last] * calls
    columns = [
        _verdicts(charge, last, calls if admitted and last.admitted else 1)
        for charge, last in zip(charges, verdicts, strict=True)
    ]
    if not admitted:
        return [made(Decision, (admitted, tuple([of[0] for of in columns]), now_us, standings, quotas))] * calls
    wide = [of if len(of) == calls else of * calls for of in columns]
    return [made(Decision, (True, row, now_us, standings, quotas)) for row in zip(*wide, strict=True)]


def _verdicts(charge: Charge, last: Verdict, calls: int) -> list[Verdict]:
    """Of one limit, from the first of so many calls that it was charged for to the last."""
    limit, _, cost = charge
    taken = units(limit, cost)
    admitted, remaining, reset_us, more_us, retry_us = last
    behind = range((calls - 1) * taken, -1, -taken)  # what the calls behind it take
    if limit.algorithm is Algorithm.TOKEN_BUCKET:
        return [
            made(Verdict, (admitted, remaining + later, _full_in_us(limit, reset_us, later), more_us, retry_us))
            for later in behind
        ]
    return [made(Verdict, (admitted, remaining + later, reset_us, more_us, retry_us)) for later in behind]


def _full_in_us(limit: Limit, missing: int, later: int) -> int:
    return ceil_div(missing - later * limit.per_us, limit.rate)
