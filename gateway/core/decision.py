"""The decision: every guard and every limit of a call together, all-or-nothing."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from gateway.core.algorithms import State, state_for
from gateway.core.ask import Ask
from gateway.core.guards import CLEAR, Breaker, Guard, Pausing, Standing, longest
from gateway.core.guards.breaker import Circuit
from gateway.core.guards.pause import Pause
from gateway.core.limits import Charge, Decision, Limit, Mode, Verdict


class Kept(Protocol):
    """What is remembered of one guard's partition. Every method leaves it as it is; `rule` is the guard's."""

    def settled(self, rule: Any, now_us: int, /) -> "Kept":
        """With a backward step of the clock made good; itself when there was none."""

    def standing(self, rule: Any, now_us: int, /) -> Standing:
        """What a call hears that is not let in (yet)."""

    def entered(self, rule: Any, now_us: int, /) -> tuple["Kept", Standing]:
        """One call more is let in, which nothing holds back."""

    def lives_us(self, rule: Any, now_us: int, /) -> int:
        """For how long it has to be remembered; 0 = it says nothing."""


_UNKNOWN: Mapping[type, Kept] = {Breaker: Circuit(), Pausing: Pause()}


def decide_call(
    ask: Ask,
    kept: Sequence[Kept | None],
    states: Sequence[State | None],
    now_us: int,
    lease: str,
    *,
    commit: bool = True,
) -> tuple[Decision, tuple[Kept, ...], tuple[State | None, ...]]:
    """Ask the guards first: what one of them holds back charges nobody. Then the limits, as `decide` does.

    kept    what is remembered of each guard's partition; None = nothing
    states  the same of each charge's

    Returns the answer and what to keep of both. Only an admitted call becomes a probe. With commit False nothing
    changes, and the limits are asked in any case.
    """
    found = tuple(kept_for(guard, known) for guard, known in zip(ask.guards, kept, strict=True))
    rules = [guard.rule for guard in ask.guards]
    settled = tuple(known.settled(rule, now_us) for rule, known in zip(rules, found, strict=True))
    standings = tuple(known.standing(rule, now_us) for rule, known in zip(rules, settled, strict=True))
    held = longest(standings) >= 0
    if held and commit:
        return Decision(False, (), now_us, standings), settled, tuple(states)
    decision, after = decide(ask.charges, states, now_us, lease, commit=commit)
    if decision.admitted and commit:
        entered = [known.entered(rule, now_us) for rule, known in zip(rules, settled, strict=True)]
        settled, standings = tuple(known for known, _ in entered), tuple(standing for _, standing in entered)
    if any(standing != CLEAR for standing in standings):
        decision = decision._replace(admitted=decision.admitted and not held, standings=standings)
    return decision, settled if commit else found, after


def kept_for(guard: Guard, kept: Kept | None) -> Kept:
    """`kept` if it is of the guard's kind; else what is remembered of a partition that nobody knows."""
    unknown = _UNKNOWN[type(guard.rule)]
    return kept if kept is not None and type(kept) is type(unknown) else unknown


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
