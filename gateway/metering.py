"""Metering: what calls really cost, where that is known only when their answers have ended.

Bodies are looked at only on routes that ask for it. The price reserved stays charged when the answer does not say. What
we refuse after its limits let it in, because there is no place for it at the upstream, costs nothing, whatever the
price.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

from gateway.core.ask import Ask
from gateway.core.classes import NO_PLACE
from gateway.core.decision import units
from gateway.core.grant import under
from gateway.core.learning import may_say
from gateway.core.limits import Algorithm, Decision
from gateway.core.measure import Heard, Measure, Source, field_number
from gateway.core.settlement import Correction

if TYPE_CHECKING:
    from gateway.call import Call
    from gateway.wire.response_head import ResponseHead


class Keeper(Protocol):
    """Who has charged: the store, or this worker in its place."""

    def settle(self, corrections: Sequence[Correction], at_us: int) -> None:
        """See `store.Store`."""


def watch(call: "Call", answer: "ResponseHead", begun: bytes) -> None:
    """Hear what has to be known of the body that comes now (`record.heard`), if anything; `begun` is here already."""
    learning, content_type = call.route.upstream.learning, answer.headers.get("Content-Type", "")
    pointers = {pointer for one in call.ask.measures.values() for places in one.sums for pointer in places}
    if pointers or (learning is not None and may_say(learning, answer.status, content_type)):
        call.record.heard = Heard(content_type, answer.headers.get("Content-Encoding", ""), pointers)
        call.record.heard.feed(begun)


def settle_costs(call: "Call", answer: "ResponseHead | None") -> None:
    """Put right what was reserved. Told once, and not waited for.

    answer  the head of the upstream's answer; None = it gave none
    """
    record, decision = call.record, call.decision
    if decision is None or not decision.admitted:
        return
    unsent = record.error_class == NO_PLACE and not record.upstream_addr
    corrections: list[tuple[int, Correction]] = []
    costs: dict[str, int] = {}
    for charge, verdict in zip(call.ask.charges, decision.verdicts, strict=True):
        measure = call.ask.measures.get(charge.limit.name)
        if not verdict.admitted or charge.limit.algorithm is Algorithm.CONCURRENCY:
            continue
        if measure is None and not unsent:
            continue
        real = 0 if measure is None else _real(call, answer, measure, charge.cost)
        if isinstance(real, str):
            record.cost_unknown = real
            continue
        costs[charge.limit.name] = real
        delta = real - units(charge.limit, charge.cost)
        if delta:
            at_us = decision.charged_at_us(call.ask.charges.index(charge))
            corrections.append((at_us, Correction(charge, delta)))
    if call.ask.measures or costs:
        record.costs = costs
    if corrections:
        gateway = call.gateway
        _settle(gateway.fallback if call.decided_here else gateway.store, corrections)


def give_back_charges(keeper: Keeper, ask: Ask, decision: Decision) -> None:
    """What it was asked to charge, and did, was for nothing after all."""
    ask = under(ask, decision.quotas) if decision.quotas else ask
    taken = enumerate(zip(ask.charges, decision.verdicts, strict=True))
    corrections = [
        (decision.charged_at_us(at), Correction(charge, -units(charge.limit, charge.cost)))
        for at, (charge, verdict) in taken
        if verdict.admitted
    ]
    _settle(keeper, corrections)


def _settle(keeper: Keeper, corrections: Iterable[tuple[int, Correction]]) -> None:
    """Each with the keeper's clock when the charge was made."""
    together: dict[int, list[Correction]] = {}
    for at_us, correction in corrections:
        together.setdefault(at_us, []).append(correction)
    for at_us, some in together.items():
        keeper.settle(some, at_us)


def _real(call: "Call", answer: "ResponseHead | None", measure: Measure, reserved: int) -> int | str:
    """What the call cost, or why that is not known. Who leaves early does not pay less for it than was reserved."""
    record = call.record
    if record.response_source == "sandbox":
        return reserved
    if answer is None or record.response_source != "upstream":
        return "no_answer" if record.upstream_addr else 0  # it never reached the upstream
    if measure.source is Source.BYTES:
        return measure.bounded(record.bytes_out)
    if measure.source is Source.HEADER:
        said = field_number(answer.headers.get(measure.name))
        return "no_number" if said is None else measure.bounded(said)
    heard = record.heard
    if heard is None or not heard.readable:
        return "encoded"
    if heard.too_large:
        return "too_large"
    said = heard.total(measure.sums, cut=bool(record.aborted_by))
    if said is None:
        return "no_number"
    return "cut" if record.aborted_by and said <= reserved else measure.bounded(said)
