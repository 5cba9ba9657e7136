"""The whole set: references resolved, what is unused or not in effect pointed out, everything frozen."""

from collections.abc import Iterable
from datetime import UTC, datetime

from gateway.core.policy import PolicySet
from gateway.policy.findings import Where
from gateway.policy.gather import SINGULAR, Draft, Entry
from gateway.policy.limits import compile_keys, compile_limits
from gateway.policy.nodes import Node
from gateway.policy.routes import WELL_KNOWN_KEYS, compile_routes, compile_upstreams

_LATER_SECTIONS = ("breakers", "retries", "error_classes")
_LATER_ROUTE_KEYS = ("breaker", "retry", "modules")


def compile_draft(draft: Draft) -> PolicySet:
    """The policy set of a draft. Of use only if there are no errors afterwards."""
    keys = compile_keys(draft)
    limits = compile_limits(draft)
    upstreams = compile_upstreams(draft)
    _resolve_later(draft)
    routes = compile_routes(draft, keys, limits, upstreams)
    if draft.files and not draft.sections["routes"] and not draft.findings.errors:
        where = Where(draft.files[0], 1, 1)
        draft.findings.error(where, "no-routes", "no routes are defined: every call would be answered with 404")
    _warn_unused(draft)
    return PolicySet(
        version=draft.digest,
        routes=routes,
        limits=limits,
        keys=keys,
        upstreams=upstreams,
        files=tuple(draft.files),
        loaded_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _resolve_later(draft: Draft) -> None:
    """Check the references of the parts that do not act yet, and say that they do not."""
    for section, where in draft.places:
        if section in _LATER_SECTIONS:
            _not_yet(where, f"section '{section}'", draft)
    for entry in draft.valid("breakers"):
        _find_all("keys", entry.model.key, entry.node.at("key"), draft)
    for entry in draft.valid("error_classes"):
        if entry.model.pause is not None:
            draft.find("keys", entry.model.pause, entry.node.at("pause").where)
    for entry in draft.valid("upstreams"):
        if entry.model.learn_limits is not None:
            node = entry.node.at("learn_limits")
            draft.find("keys", entry.model.learn_limits.scope, node.at("scope").where)
            _not_yet(node.named, "'learn_limits'", draft)
    for entry in draft.valid("routes"):
        _resolve_later_of_route(entry, draft)


def _resolve_later_of_route(entry: Entry, draft: Draft) -> None:
    model, node = entry.model, entry.node
    if model.breaker is not None:
        draft.find("breakers", model.breaker, node.at("breaker").where)
    if model.retry is not None:
        draft.find("retries", model.retry, node.at("retry").where)
    if model.modules.cache is not None:
        _find_all("keys", model.modules.cache.vary_by, node.at("modules", "cache", "vary_by"), draft)
    for name in _LATER_ROUTE_KEYS:
        written = node.child(name)
        if written is not None and written.value:
            _not_yet(written.named, f"'{name}'", draft)


def _find_all(section: str, names: Iterable[str], node: Node, draft: Draft) -> None:
    for index, name in enumerate(names):
        draft.find(section, name, node.at(index).where)


def _not_yet(where: Where, subject: str, draft: Draft) -> None:
    draft.findings.warn(where, "not-in-effect", f"{subject} is checked but not in effect yet")


def _warn_unused(draft: Draft) -> None:
    """Only when everything could be read: what uses it may stand in what could not."""
    if not draft.complete:
        return
    for section in ("keys", "limits", "breakers", "retries", "upstreams"):
        for entry in draft.sections[section].values():
            if not entry.used and not (section == "keys" and entry.name in WELL_KNOWN_KEYS):
                message = f"{SINGULAR[section]} '{entry.name}' is defined but not used"
                draft.findings.warn(entry.node.named, "unused", message)
