"""Circuit breakers: from what was written to the frozen values that are kept to."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from gateway.core.guards import Breaker, out_of_bounds
from gateway.core.units import SECOND_US
from gateway.core.upstream import Timeouts, Upstream
from gateway.policy.findings import quoted
from gateway.policy.gather import Draft, Entry
from gateway.policy.models import attempts as models

PROBE_SLACK_US = SECOND_US
"""What a probe may take beyond its upstream's time-outs, before it is given up: a caller who sends or reads slowly."""


def compile_breakers(draft: Draft, upstreams: Mapping[str, Upstream]) -> dict[str, Breaker]:
    """The breakers by name."""
    breakers = {entry.name: _breaker(entry, draft) for entry in draft.valid("breakers")}
    routes = [route.model for route in draft.valid("routes")]
    used_for: dict[str | None, list[Timeouts]] = {}
    for route in routes:
        if route.upstream in upstreams:
            used_for.setdefault(route.breaker, []).append(upstreams[route.upstream].timeouts)
    return {name: _with_times(one, used_for.get(name, ())) for name, one in breakers.items()}


def _with_times(breaker: Breaker, timeouts: Iterable[Timeouts]) -> Breaker:
    """A probe may take as long as it can at the slowest of the upstreams that the breaker is used for."""
    longest_us = [one.connect_us + one.first_byte_us + one.idle_us for one in timeouts]
    probe_us = max(longest_us, default=0) + PROBE_SLACK_US
    return replace(breaker, probe_us=probe_us, permit_us=min(breaker.permit_us, probe_us))


def _breaker(entry: Entry, draft: Draft) -> Breaker:
    model: models.Breaker = entry.model
    slow = model.slow_call
    if model.failure_rate is None and model.consecutive_failures is None and slow is None:
        message = f"breaker {quoted(entry.name)} never opens: it has no threshold"
        hint = "give it failure_rate, consecutive_failures or slow_call"
        draft.findings.error(entry.node.named, "empty", message, hint)
    if model.open_backoff < 1:
        where = entry.node.at("open_backoff").where
        draft.findings.error(where, "out-of-range", f"must be at least 1, got {model.open_backoff}")
    longest = entry.node.child("max_open_for")
    if longest is not None and model.max_open_for < model.open_for:
        message = "max_open_for is shorter than open_for, which holds"
        draft.findings.warn(longest.where, "never-applies", message)
    breaker = Breaker(
        name=entry.name,
        key=model.key,
        shared=model.scope == "shared",
        window_us=model.window,
        minimum_calls=model.minimum_calls,
        failure_ppm=_ppm(model.failure_rate),
        slow_ppm=_ppm(slow.rate if slow else None),
        slow_us=slow.duration if slow else 0,
        consecutive_failures=model.consecutive_failures or 0,
        open_us=model.open_for,
        growth_milli=round(model.open_backoff * 1000),
        max_open_us=max(model.open_for, model.max_open_for),
        half_open_calls=model.half_open_calls,
        close_after=model.close_after,
        source=entry.source,
    )
    problem = out_of_bounds(breaker)
    if problem:
        draft.findings.error(entry.node.named, "out-of-range", f"breaker {quoted(entry.name)}: {problem}")
    return breaker


def _ppm(share: float | None) -> int:
    return round(share * 1_000_000) if share else 0
