"""An explanation as one JSON document, the same for the command line and the admin API."""

from collections.abc import Mapping
from typing import Any

from gateway.core.ask import Ask
from gateway.core.cache.key import covers
from gateway.core.cache.rules import Cache
from gateway.core.grant import Grant, granted
from gateway.core.guards import Breaker, Guard, Standing
from gateway.core.headers import refusing, retry_after_s, whole_seconds
from gateway.core.keys import KeyFrom, KeyPart, readable
from gateway.core.limits import Decision, Limit, Mode, Posture, Verdict
from gateway.core.policy import PolicySet, Route
from gateway.core.preview.explain import Explanation, LimitCase, Passed
from gateway.core.retry import Repeat, Retry
from gateway.core.routing.resolve import Asking, Resolved
from gateway.core.upstream import Pace
from gateway.policy.effective import amount, duration, match_text, place

Document = dict[str, Any]
NO_GRANTS: Mapping[str, Grant] = {}
MOST_PASSED = 20
"""Routes and operations that are named as passed by."""


def explained(
    asking: Asking,
    http_host: str,
    explanation: Explanation,
    policies: PolicySet,
    decision: Decision | None = None,
    *,
    sent: Document | None = None,
    grants: Mapping[str, Grant] = NO_GRANTS,
    away: str = "",
) -> Document:
    """The whole document. What does not apply is left out.

    asking, http_host, policies  what was explained, and by which, as `core.preview.explain` got it
    decision  what the store's `peek` answered to `explanation.ask`; None = nobody asked it: then it says nothing of
              counters, breaker states and whether the call would be admitted
    sent      the head that the upstream would get (`policy.sent`); None = nobody knows the call's fields
    grants    those of the asked limits' callers that are in force, by the limit's name
    away      why the store could not be asked, in a word; "" = it could, or nobody tried
    """
    resolved, refusal = explanation.resolved, explanation.refusal
    request = {"method": asking.method, "target": asking.target, "host": http_host}
    judged_by = {"version": policies.version, "files": list(policies.files)}
    document: Document = {"request": request, "policies": judged_by}
    if refusal is not None:
        document["refused"] = {"status": refusal.kind.status, "code": refusal.kind.code, "detail": refusal.detail}
    elif decision is not None:
        document["decision"] = _decision(explanation, decision)
    elif away and explanation.ask is not None:
        document["store"] = {"up": False, "reason": away, "refusing": _denying(explanation.ask)}
    if explanation.passed:
        document["passed_routes"] = _passed(explanation.passed)
    if resolved is None:
        return document
    document |= _identified(resolved, explanation)
    document["limits"] = _limits(explanation, decision, grants)
    return document | _guards(explanation, decision) | _beyond(resolved, asking, explanation.ask, sent)


def _identified(resolved: Resolved, explanation: Explanation) -> Document:
    """What takes the call, and whose it is."""
    route, operation = resolved.route, resolved.operation
    document: Document = {"route": {"name": route.name, "match": match_text(route.match), "source": route.source}}
    if explanation.passed_operations:
        document["passed_operations"] = _passed(explanation.passed_operations)
    if operation is not None:
        document["operation"] = operation.name
        if operation.entity:
            document["entity"] = operation.entity
    if route.authenticate:
        schemes = [scheme.name for scheme in route.authenticate]
        document["credentials"] = {"schemes": schemes, "checked": not explanation.unchecked}
    document["keys"] = [_key(part, explanation.parts.get(part.name)) for part in route.keys]
    return document


def _decision(explanation: Explanation, decision: Decision) -> Document:
    ask = explanation.ask
    if decision.admitted or ask is None:
        return {"admitted": decision.admitted}
    waits = [standing.wait_us for standing in decision.standings]
    if any(waits):
        guard = ask.guards[waits.index(max(waits))]
        kind = "breaker" if isinstance(guard.rule, Breaker) else "pause"
        return {"admitted": False, "held_by": f"{kind} {guard.rule.name}", "retry_after_s": whole_seconds(max(waits))}
    names = [ask.kind.names[at] for at in refusing(ask.kind, decision.verdicts)]
    return {"admitted": False, "limits": names, "retry_after_s": retry_after_s(ask.charges, decision)}


def _denying(ask: Ask) -> list[str]:
    """The limits that refuse every call while the store is away."""
    limits = (charge.limit for charge in ask.charges)
    return [limit.name for limit in limits if limit.mode is Mode.ENFORCE and limit.on_store_error is Posture.DENY]


def _passed(passed: tuple[Passed, ...]) -> list[Document]:
    more = len(passed) - MOST_PASSED
    found: list[Document] = [{"name": one.name, "why": one.why} for one in passed[:MOST_PASSED]]
    return [*found, {"name": f"{more} more", "why": ""}] if more > 0 else found


def _key(part: KeyPart, value: str | None) -> Document:
    where = part.source.value if part.source is KeyFrom.CLIENT_IP else f"{part.source.value} {part.source_name}".strip()
    return {"name": part.name, "from": where, "value": value, "on_missing": part.on_missing.value}


def _limits(explanation: Explanation, decision: Decision | None, grants: Mapping[str, Grant]) -> list[Document]:
    """Each limit of the route, a variant in shadow inside its limit."""
    verdicts: dict[str, Verdict] = {}
    if explanation.ask is not None and decision is not None:
        verdicts = dict(zip(explanation.ask.kind.names, decision.verdicts, strict=bool(decision.verdicts)))
    now_us = 0 if decision is None else decision.now_us
    return [_limit(case, verdicts, grants.get(case.limit.name), now_us) for case in explanation.limits]


def _limit(case: LimitCase, verdicts: Mapping[str, Verdict], grant: Grant | None, now_us: int) -> Document:
    limit = case.limit
    document: Document = {
        "name": limit.name,
        "asked": not case.why_not,
        "mode": limit.mode.value,
        "algorithm": limit.algorithm.value,
        "amount": amount(limit if grant is None else granted(limit, grant.quota)),
        "key": list(limit.key),
        "cost": case.cost,
        "charge": limit.charge.value,
        "on_store_error": limit.on_store_error.value,
        "source": limit.source,
    }
    if case.why_not:
        document["why_not"] = case.why_not
    else:
        document |= {"for": readable(case.partition), "partition": case.partition}
    if case.override is not None:
        document["override"] = dict(case.override.match)
    if grant is not None:
        document["granted"] = {
            "limit": grant.quota,
            "instead_of": limit.quota,
            "ends_in_s": whole_seconds(grant.until_us - now_us),
            "reason": grant.reason,
        }
    if case.measure is not None:
        document["cost_from"] = case.measure.source.value
    document |= _verdict(verdicts.get(limit.name))
    if limit.shadow is not None and not case.why_not:
        document["shadow"] = _variant(limit.shadow, verdicts)
    return document


def _variant(limit: Limit, verdicts: Mapping[str, Verdict]) -> Document:
    """A limit that is tried in shadow beside another."""
    verdict = _verdict(verdicts.get(limit.name))
    return {"algorithm": limit.algorithm.value, "amount": amount(limit), **verdict}


def _verdict(verdict: Verdict | None) -> Document:
    if verdict is None:
        return {}
    return {
        "has_room": verdict.admitted,
        "remaining": verdict.remaining,
        "reset_s": whole_seconds(verdict.reset_us),
        "retry_after_s": whole_seconds(verdict.retry_us),
    }


def _guards(explanation: Explanation, decision: Decision | None) -> Document:
    """The breaker and the pause that may hold the call back."""
    ask, resolved = explanation.ask, explanation.resolved
    if ask is None or resolved is None:
        return {}
    standings = decision.standings if decision is not None else ()
    states = dict(zip((guard.key for guard in ask.guards), standings, strict=bool(standings)))
    document: Document = {}
    for guard in (*ask.guards, *([ask.own] if ask.own is not None else [])):
        document |= _guard(guard, states.get(guard.key), looked=decision is not None and guard is not ask.own)
    return document


def _guard(guard: Guard, standing: Standing | None, *, looked: bool) -> Document:
    rule = guard.rule
    if isinstance(rule, Breaker):
        described: Document = {"name": rule.name, "scope": "shared" if rule.shared else "local", "source": rule.source}
    else:
        described = {"upstream": rule.name, "at_most_s": whole_seconds(rule.max_us)}
    described |= {"for": readable(guard.key), "partition": guard.key}
    if looked:
        state = (standing or Standing()).state
        described |= {"state": state.name.lower(), "wait_s": whole_seconds(standing.wait_us if standing else 0)}
    return {"breaker" if isinstance(rule, Breaker) else "pause": described}


def _cache(cache: Cache, resolved: Resolved, asking: Asking, ask: Ask | None, sent: Document | None) -> Document:
    """Whether such a call may be answered from what is kept, and by which fields it says who is calling."""
    covered = covers(cache, asking.method, resolved.rest)
    whose = ask.shelf if ask is not None else None
    document: Document = {"may_answer": covered and whose is not None, "ttl": duration(cache.ttl_us)}
    document |= {"vary_by": list(cache.vary_by), "store": "shared" if cache.shared else "local"}
    if not covered:
        document["why_not"] = "its method and path are not in the cache's match"
    elif whose is None:
        document["why_not"] = f"the call does not say its {' and '.join(cache.vary_by)}"
    elif sent is not None and ask is not None and not cache.per_credential:
        ours = ask.credential.header.lower() if ask.credential is not None else ""
        shown = {name.lower() for name, _ in sent["fields"]} - {ours}
        document["credentials"] = sorted(name for name in shown if cache.personal.names(name.encode()))
    return document


def _beyond(resolved: Resolved, asking: Asking, ask: Ask | None, sent: Document | None) -> Document:
    """What follows once a call is admitted: retries, pace, and where it goes; or that it goes nowhere."""
    route = resolved.route
    if route.fixtures is not None:
        return {"sandbox": {"fixtures": route.fixtures.source}}
    document: Document = {} if route.cache is None else {"cache": _cache(route.cache, resolved, asking, ask, sent)}
    if route.retry is not None:
        document["retry"] = _retry(route.retry, asking.method.upper(), bool(asking.headers.get("idempotency-key")))
    if route.upstream.pace is not None:
        document["pace"] = _pace(route.upstream.pace)
    document["upstream"] = {"name": route.upstream.name, "url": _url(resolved, route), "source": route.upstream.source}
    if sent is not None:
        document["upstream"]["request"] = sent
    return document


def _url(resolved: Resolved, route: Route) -> str:
    return place(route.upstream).removesuffix(route.upstream.base_path) + resolved.target


def _retry(retry: Retry, method: str, has_key: bool) -> Document:
    repeats = retry.repeats(method, has_key)
    document: Document = {
        "name": retry.name,
        "repeats": repeats,
        "attempts": retry.attempts if repeats else 1,
        "waits": _waits(retry) if repeats else [],
        "on_status": sorted(retry.statuses),
        "on_error": sorted(retry.errors),
        "honor": sorted(retry.honor),
        "max_wait": duration(retry.max_wait_us),
        "source": retry.source,
    }
    if not repeats:
        key = " without Idempotency-Key" if retry.others is Repeat.WITH_IDEMPOTENCY_KEY else ""
        document["why_not"] = f"{method} is not repeated{key}"
    return document


def _waits(retry: Retry) -> list[str]:
    """Before each further attempt, without jitter."""
    backoff, further = retry.backoff, range(retry.attempts - 1)
    if not backoff.schedule_us:
        return [f"up to {duration(min(backoff.max_us, backoff.base_us << at))}" for at in further]
    return [duration(backoff.schedule_us[min(at, len(backoff.schedule_us) - 1)]) for at in further]


def _pace(pace: Pace) -> Document:
    return {
        "amount": f"{pace.rate} per {duration(pace.per_us)}, burst {pace.burst}",
        "key": list(pace.key),
        "max_wait": duration(pace.max_wait_us),
    }
