"""A call's guards and limits by where a Redis Cluster keeps them, and their answers put together again."""

from collections.abc import Callable, Sequence
from typing import Any

from gateway.core.ask import Ask
from gateway.core.decision import units
from gateway.core.grant import under
from gateway.core.guards import CLEAR, Breaker, Report, longest
from gateway.core.limits import Algorithm, Decision
from gateway.core.settlement import Correction


class Group:
    """What of an `Ask` one script decides.

    slot     where it is
    ask      the part of the question
    guards, charges  which ones they are in the whole question, by index
    """

    __slots__ = ("ask", "charges", "guards", "slot")

    def __init__(self, slot: int, whole: Ask, guards: Sequence[int], charges: Sequence[int]) -> None:
        self.slot = slot
        self.guards = tuple(guards)
        self.charges = tuple(charges)
        self.ask = Ask([whole.charges[at] for at in charges], [whole.guards[at] for at in guards])


class ClusterDecision(Decision):
    """A decision of several servers, each by its own clock."""

    clocks_us: tuple[int, ...]

    def charged_at_us(self, index: int) -> int:
        """See `Decision`."""
        return self.clocks_us[index]


def by_slot(ask: Ask, slot_of: Callable[[str], int]) -> tuple[Group, ...]:
    """One group a slot, in the order of the question: so those with guards come first."""
    slots: dict[int, tuple[list[int], list[int]]] = {}
    for at, guard in enumerate(ask.guards):
        slots.setdefault(slot_of(guard.key), ([], []))[0].append(at)
    for at, charge in enumerate(ask.charges):
        slots.setdefault(slot_of(charge.key), ([], []))[1].append(at)
    return tuple(Group(slot, ask, guards, charges) for slot, (guards, charges) in slots.items())


def one_by_one(ask: Ask, slot_of: Callable[[str], int]) -> tuple[Group, ...]:
    """A group for each key: while a slot moves, only commands with one key find it wherever it is."""
    guards = [Group(slot_of(guard.key), ask, (at,), ()) for at, guard in enumerate(ask.guards)]
    return (*guards, *(Group(slot_of(charge.key), ask, (), (at,)) for at, charge in enumerate(ask.charges)))


def together(ask: Ask, groups: Sequence[Group], answers: Sequence[Decision], *, commit: bool) -> Decision:
    """The decision about the whole question: nothing about limits when a guard holds back who would be charged."""
    verdicts: list[Any] = [None] * len(ask.charges)
    clocks_us, quotas = [0] * len(ask.charges), [0] * len(ask.charges)
    standings = [CLEAR] * len(ask.guards)
    for group, answer in zip(groups, answers, strict=True):
        for at, standing in zip(group.guards, answer.standings, strict=bool(answer.standings)):
            standings[at] = standing
        for at, verdict in zip(group.charges, answer.verdicts, strict=bool(answer.verdicts)):
            verdicts[at], clocks_us[at] = verdict, answer.now_us
        for at, quota in zip(group.charges, answer.quotas, strict=bool(answer.quotas)):
            quotas[at] = quota
    known = tuple(standings) if any(standing != CLEAR for standing in standings) else ()
    admitted, now_us = all(answer.admitted for answer in answers), answers[0].now_us
    if commit and longest(standings) >= 0:
        return Decision(False, (), now_us, known)
    decision = ClusterDecision(admitted, tuple(verdicts), now_us, known, tuple(quotas) if any(quotas) else ())
    decision.clocks_us = tuple(clocks_us)
    return decision


def corrections_of(group: Group, taken: Decision) -> list[Correction]:
    """What gives back the units that the group charged; slots of concurrency limits are released instead."""
    asked = under(group.ask, taken.quotas) if taken.quotas else group.ask
    return [
        Correction(charge, -units(charge.limit, charge.cost))
        for charge, verdict in zip(asked.charges, taken.verdicts, strict=True)
        if verdict.admitted and charge.limit.algorithm is not Algorithm.CONCURRENCY
    ]


def permits_of(group: Group, taken: Decision) -> list[Report]:
    """What gives back the probes that the group's breakers let out. What an upstream lets through is counted down."""
    return [
        Report(guard, standing.generation, standing.probe)
        for guard, standing in zip(group.ask.guards, taken.standings, strict=bool(taken.standings))
        if standing.probe and isinstance(guard.rule, Breaker)
    ]
