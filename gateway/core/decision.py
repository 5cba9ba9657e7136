"""The decision: all limits of a call together, all-or-nothing."""

from collections.abc import Sequence

from gateway.core.algorithms import State, state_for
from gateway.core.limits import Charge, Decision, Limit, Mode, Verdict


def decide(
    charges: Sequence[Charge], states: Sequence[State | None], now_us: int, lease: str, *, commit: bool = True
) -> tuple[Decision, tuple[State, ...]]:
    """Ask every limit; charge all or none. Returns the answer and the states to keep, in the order of `charges`.

    states  what is remembered of each charge's partition; None = nothing
    lease   names the slots that concurrency limits give to this call
    commit  False: charge nothing and settle nothing. The verdicts say what would happen and show the present.

    The verdicts show the state after the charge where one was made, else the present. Raises ValueError when two
    charges name the same partition.
    """
    check_distinct([charge.key for charge in charges])
    found = [state_for(charge.limit, state) for charge, state in zip(charges, states, strict=True)]
    settled = [state.settled(charge.limit, now_us) for charge, state in zip(charges, found, strict=True)]
    costs = [units(limit, cost) for limit, _, cost in charges]
    waits = [
        state.retry_us(charge.limit, cost, now_us) for charge, cost, state in zip(charges, costs, settled, strict=True)
    ]
    admitted = not any(wait and charge.limit.mode is Mode.ENFORCE for charge, wait in zip(charges, waits, strict=True))
    after = [
        state.charged(charge.limit, cost, now_us, lease) if commit and admitted and not wait else state
        for charge, cost, state, wait in zip(charges, costs, settled, waits, strict=True)
    ]
    verdicts = tuple(
        Verdict(not wait, *state.present(charge.limit, now_us), wait)
        for charge, state, wait in zip(charges, after, waits, strict=True)
    )
    return Decision(admitted, verdicts, now_us), tuple(after if commit else found)


def units(limit: Limit, cost: int) -> int:
    """What a call of this cost takes from the limit: one that costs more than there ever is takes all there is.

    (A policy cannot say so, but an override or a worker's share of a limit can be smaller than an operation's cost.)
    Raises ValueError for a cost below 1.
    """
    if cost < 1:
        raise ValueError(f"limit {limit.name}: a call cannot cost {cost}")
    return min(cost, limit.quota)


def check_distinct(keys: Sequence[str]) -> None:
    """Two charges on one partition would each be judged as if the other were not there: ValueError."""
    if len(set(keys)) != len(keys):
        raise ValueError("the same partition is charged twice in one call")
