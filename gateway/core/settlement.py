"""Settlement: what a call really cost is known when its answer has ended; until then an estimate was charged.

The difference is put right once: as far as the charge still counts, what was too much is given back, and never more
than that charge had taken. What was too little is charged from now on, even beyond the limit, so that the calls that
follow wait. No more than the limit once again can be owed: no caller is shut out for longer than two windows, whatever
a confused upstream says that a call has cost.

A settlement that is lost leaves the estimate charged. Slots of concurrency limits are taken while a call runs, whatever
it costs.
"""

from typing import NamedTuple

from gateway.core.algorithms import Bucket, Log, State, Tally, state_for
from gateway.core.limits import Charge


class Correction(NamedTuple):
    """A charge that was made, and how many units more (less: below 0) it really was."""

    charge: Charge
    delta: int


def corrected(correction: Correction, state: State | None, at_us: int, now_us: int) -> State | None:
    """What is remembered of the partition when the correction has been made.

    state  what was; None = nothing
    at_us  the store's clock when the charge was made
    """
    (limit, _, _), delta = correction
    known = state_for(limit, state)
    if delta == 0 or (delta < 0 and known is not state) or not isinstance(known, Log | Bucket | Tally):
        return state
    return known.settled(limit, now_us).corrected(limit, delta, at_us, now_us)
