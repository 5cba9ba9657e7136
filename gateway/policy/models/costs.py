"""What calls cost: a number, or where their answers say it."""

from collections.abc import Collection, Mapping
from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from gateway.core.limits import Algorithm, Limit, Mode
from gateway.core.measure import Measure, Source
from gateway.policy.findings import Findings, quoted
from gateway.policy.models.scalars import HeaderName, Sums, Units
from gateway.policy.models.strict import Strict
from gateway.policy.nodes import Node


class _Measured(Strict):
    reserve: Units = Field(description="charged until the answer has ended")
    max: Units | None = Field(default=None, description="a larger number counts as this one")


class HeaderCost(_Measured):
    """A whole number in a field of the answer's head."""

    source: Literal["response_header"] = Field(alias="from")
    name: HeaderName


class JsonCost(_Measured):
    """A number in the answer's JSON, or the sum of several; in an event stream each from the last event that has it."""

    source: Literal["response_json"] = Field(alias="from")
    pointer: Sums


class BytesCost(_Measured):
    """The size of the answer's body."""

    source: Literal["response_bytes"] = Field(alias="from")


MeasuredCost = HeaderCost | JsonCost | BytesCost


def _kind(value: object) -> str:
    return "measured" if isinstance(value, dict) else "units"


_Whole = Annotated[int, Field(ge=0)]
Cost = Annotated[
    Annotated[_Whole, Tag("units")]
    | Annotated[Annotated[MeasuredCost, Field(discriminator="source")], Tag("measured")],
    Discriminator(_kind),
]


def priced(costs: Mapping[str, int | MeasuredCost]) -> tuple[dict[str, int], dict[str, Measure]]:
    """Units to charge, or to reserve, by limit; and how those that are only reserved are measured."""
    units = {name: cost if isinstance(cost, int) else cost.reserve for name, cost in costs.items()}
    return units, {name: _measure(cost) for name, cost in costs.items() if not isinstance(cost, int)}


def _measure(cost: MeasuredCost) -> Measure:
    name = cost.name if isinstance(cost, HeaderCost) else ""
    sums = cost.pointer if isinstance(cost, JsonCost) else ()
    return Measure(Source(cost.source), name, sums, cost.max or 0)


def check_costs(
    costs: Mapping[str, int | MeasuredCost],
    node: Node,
    listed: Collection[str],
    own: Mapping[str, Limit],
    findings: Findings,
) -> None:
    """Report costs of limits that the route does not have (`listed`), or that its valid ones (`own`) never admit."""
    for name, cost in costs.items():
        place = node.at("cost", name)
        if name not in listed:
            message = f"cost names limit {quoted(name)}, which is not on this route"
            findings.error(place.named, "cost-without-limit", message)
        elif isinstance(cost, int):
            _check_units(own.get(name), cost, place, findings)
        else:
            _check_units(own.get(name), cost.reserve, place.at("reserve"), findings)
            _check_measured(own.get(name), cost, place, findings)


def _check_measured(limit: Limit | None, cost: MeasuredCost, place: Node, findings: Findings) -> None:
    if cost.max is not None and cost.max < cost.reserve:
        message = f"max {cost.max} is less than what is reserved, {cost.reserve}"
        findings.error(place.at("max").where, "out-of-range", message)
    if limit is not None and limit.algorithm is Algorithm.CONCURRENCY:
        message = f"limit {quoted(limit.name)} counts calls that run: what they cost cannot be known afterwards"
        findings.error(place.at("from").where, "cost-of-slots", message)


def _check_units(limit: Limit | None, cost: int, place: Node, findings: Findings) -> None:
    """A cost above what a limit ever admits would be refused for ever."""
    if limit is None:
        return
    shadow = (limit.shadow,) if limit.shadow else ()
    for variant in (limit, *(override.limit for override in limit.overrides), *shadow):
        if variant.mode is not Mode.OFF and cost > variant.quota:
            message = f"cost {cost} is more than limit {quoted(variant.name)} ever admits"
            findings.error(place.where, "cost-above-limit", f"{message} ({variant.quota}, {variant.source})")
