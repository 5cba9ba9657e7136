"""Retries, error classes, learned limits and pace: from what was written to the frozen values that attempts follow."""

from collections.abc import Iterable, Sequence

from gateway.core import upstream as core
from gateway.core.classes import KINDS, NO_PLACE, Classes, Counts, ErrorClass, Rule, statuses_of
from gateway.core.connections.state import ConnectionState
from gateway.core.http.own_fields import OwnFields
from gateway.core.http.signals import TOO_MANY, Honor
from gateway.core.retry import Backoff, Repeat, Retry, Share
from gateway.policy.compile.references import EVERYBODY
from gateway.policy.findings import quoted
from gateway.policy.gather import Draft, Entry
from gateway.policy.models import attempts as models

_DEFAULT = Backoff()
_LEARNED_MAX_US = 900_000_000


def compile_classes(draft: Draft) -> Classes:
    """The error classes, in the order in which they are written."""
    rules: list[Rule] = []
    for entry in draft.valid("error_classes"):
        rule = _rule(entry)
        _check_rule(rule, rules, entry, draft)
        rules.append(rule)
    return Classes(rules)


def _rule(entry: Entry) -> Rule:
    model: models.ErrorClass = entry.model
    condition = ConnectionState(model.connection_state) if model.connection_state else None
    error_class = ErrorClass(
        entry.name, model.retry, Counts(model.breaker), model.pause or "", condition, source=entry.source
    )
    return Rule(error_class, _statuses(model.status), model.error)


def _statuses(texts: Iterable[str]) -> frozenset[int]:
    return frozenset[int]().union(*map(statuses_of, texts))


def _errors(kinds: Iterable[str]) -> frozenset[str]:
    return frozenset[str]().union(*(KINDS[kind] for kind in kinds))


def _check_rule(rule: Rule, earlier: list[Rule], entry: Entry, draft: Draft) -> None:
    """A class that nothing can belong to."""
    statuses, errors = frozenset(rule.statuses), _errors(rule.kinds)
    pauses = [other.error_class.pause for other in earlier if other.error_class.pause]
    if rule.error_class.pause and pauses and pauses[0] != rule.error_class.pause:
        message = f"an earlier error class pauses by {quoted(pauses[0])}: all must pause by the same key part"
        draft.findings.error(entry.node.at("pause").where, "conflicting-keys", message)
    if entry.name == NO_PLACE:
        message = f"{NO_PLACE} is the class of calls for which there was no place at the upstream"
        draft.findings.error(entry.node.named, "bad-name", message, "choose another name")
    if not statuses and not errors:
        draft.findings.error(entry.node.named, "empty", "this error class has neither status nor error")
        return
    for other in earlier:
        statuses, errors = statuses.difference(other.statuses), errors - _errors(other.kinds)
    if not statuses and not errors:
        message = f"error class {quoted(entry.name)} never applies: those before it match first"
        draft.findings.warn(entry.node.named, "never-applies", message)


def compile_retries(draft: Draft, classes: Classes) -> dict[str, Retry]:
    """The retry policies by name. What an error class says is never retried is taken out of them."""
    return {entry.name: _retry(entry, classes, draft) for entry in draft.valid("retries")}


def _retry(entry: Entry, classes: Classes, draft: Draft) -> Retry:
    model: models.Retry = entry.model
    _check_statuses(entry, classes, draft)
    if model.attempts == 1:
        where = entry.node.at("attempts").where
        draft.findings.warn(where, "never-applies", "nothing is tried again: attempts counts the first")
    return Retry(
        name=entry.name,
        attempts=model.attempts,
        backoff=_backoff(entry, draft),
        statuses=_statuses(model.on_status).difference(classes.never_retried(_statuses(model.on_status))),
        errors=frozenset(error for error in _errors(model.on_error) if classes.errors[error].retry),
        methods=frozenset(model.methods),
        others=Repeat(model.non_idempotent),
        honor=frozenset(model.honor),
        max_wait_us=model.max_wait,
        max_body_bytes=model.max_body,
        per_try_us=model.per_try or 0,
        total_us=model.total,
        share=Share(model.budget.percent, model.budget.min_concurrent) if model.budget else None,
        told="" if model.on_exhausted.event == "none" else model.on_exhausted.log,
        source=entry.source,
    )


def _check_statuses(entry: Entry, classes: Classes, draft: Draft) -> None:
    for index, text in enumerate(entry.model.on_status):
        statuses = statuses_of(text)
        if entry.node.child("on_status") and len(classes.never_retried(statuses)) == len(statuses):
            name = classes.statuses[min(statuses)].name
            message = f"{text} is never tried again: its error class {quoted(name)} says retry: false"
            draft.findings.warn(entry.node.at("on_status", index).where, "never-applies", message)


def _backoff(entry: Entry, draft: Draft) -> Backoff:
    model: models.Backoff = entry.model.backoff
    jitter_ppm = None if model.jitter is None else round(model.jitter * 1_000_000)
    if model.schedule:
        _check_schedule(model.schedule, entry, draft)
        return Backoff(model.schedule, jitter_ppm or 0)
    max_us = model.max or _DEFAULT.max_us
    base_us = model.base or min(_DEFAULT.base_us, max_us)
    if model.max is not None and max_us < base_us:
        where = entry.node.at("backoff", "max").where
        draft.findings.warn(where, "never-applies", "max is shorter than base, which holds")
    return Backoff((), _DEFAULT.jitter_ppm if jitter_ppm is None else jitter_ppm, base_us, max(base_us, max_us))


def _check_schedule(schedule: Sequence[int], entry: Entry, draft: Draft) -> None:
    node, waits, used = entry.node.at("backoff"), len(schedule), entry.model.attempts - 1
    if node.child("base") or node.child("max"):
        draft.findings.error(node.named, "conflicting-keys", "give either a schedule, or base and max")
    elif waits > used:
        message = f"{entry.model.attempts} attempts use only {used} of these {waits} waits: attempts counts the first"
        draft.findings.warn(node.at("schedule").where, "never-applies", message)
    if 0 < entry.model.total <= schedule[0]:
        where = entry.node.at("total").where
        draft.findings.warn(where, "never-applies", "nothing is tried again: the first wait would end behind total")


def learning(entry: Entry, classes: Classes, draft: Draft) -> core.Learning | None:
    """What an upstream's pauses are learned from: its own `learn_limits`, or an error class that pauses."""
    model: models.LearnLimits | None = entry.model.learn_limits
    if model is None:
        return core.Learning(tuple(Honor), _scope((classes.pause,), draft), _LEARNED_MAX_US) if classes.pause else None
    if classes.pause and (classes.pause,) != model.scope:
        by = ", ".join(map(quoted, model.scope))
        message = f"an error class pauses by {quoted(classes.pause)}, this upstream by {by}"
        draft.findings.error(entry.node.at("learn_limits", "scope").where, "conflicting-keys", message)
    _check_own_fields(entry, draft)
    for index, wording in enumerate(model.also_when):
        if not _statuses(wording.status) - {TOO_MANY}:
            where = entry.node.at("learn_limits", "also_when", index, "status").where
            draft.findings.warn(where, "never-applies", "a 429 is taken for one whatever its body says")
    return core.Learning(
        tuple(map(Honor, model.source)),
        _scope(model.scope, draft),
        model.max,
        model.as_limit,
        _statuses(model.also_on),
        model.otherwise or 0,
        tuple(core.Wording(_statuses(one.status), one.pointer, one.values) for one in model.also_when),
        tuple(
            OwnFields(one.remaining or "", one.used or "", one.reset or "", one.window or 0) for one in model.also_from
        ),
    )


def _check_own_fields(entry: Entry, draft: Draft) -> None:
    """Each says one thing about how many, and one about how long."""
    for index, one in enumerate(entry.model.learn_limits.also_from):
        node = entry.node.at("learn_limits", "also_from", index)
        for either, other in (("remaining", "used"), ("reset", "window")):
            if (getattr(one, either) is None) == (getattr(one, other) is None):
                code = "missing-key" if getattr(one, either) is None else "conflicting-keys"
                draft.findings.error(node.where, code, f"give either {either} or {other}")


def _scope(names: tuple[str, ...], draft: Draft) -> tuple[str, ...]:
    return () if names == (EVERYBODY,) and EVERYBODY not in draft.sections["keys"] else names


def pace(entry: Entry) -> core.Pace | None:
    """The pace of an upstream."""
    model: models.Pace | None = entry.model.pace
    if model is None:
        return None
    return core.Pace(model.rate, model.per, model.burst, model.key, model.queue, model.max_wait)
