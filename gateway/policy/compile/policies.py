"""The whole set: references resolved, what is unused pointed out, everything frozen."""

from time import time_ns

from gateway.core.http.timestamps import rfc3339
from gateway.core.policy import PolicySet
from gateway.policy.compile.breakers import compile_breakers
from gateway.policy.compile.credentials import compile_credentials
from gateway.policy.compile.limits import compile_keys, compile_limits
from gateway.policy.compile.matches import check_matches
from gateway.policy.compile.references import resolve_references
from gateway.policy.compile.retries import compile_classes, compile_retries
from gateway.policy.compile.routes import WELL_KNOWN_KEYS, Parts, compile_routes, compile_upstreams
from gateway.policy.compile.schemes import compile_schemes
from gateway.policy.findings import Where
from gateway.policy.gather import SINGULAR, Draft


def compile_draft(draft: Draft) -> PolicySet:
    """The policy set of a draft. Of use only if there are no errors afterwards."""
    resolve_references(draft)
    classes = compile_classes(draft)
    credentials = compile_credentials(draft)
    upstreams = compile_upstreams(draft, classes, credentials)
    parts = Parts(
        keys=compile_keys(draft),
        limits=compile_limits(draft),
        breakers=compile_breakers(draft, upstreams),
        retries=compile_retries(draft, classes),
        upstreams=upstreams,
        schemes=compile_schemes(draft),
    )
    routes = compile_routes(draft, parts)
    check_matches(draft, parts.keys)
    if draft.files and not draft.sections["routes"] and not draft.findings.errors:
        where = Where(draft.files[0], 1, 1)
        draft.findings.error(where, "no-routes", "no routes are defined: every call would be answered with 404")
    _warn_unused(draft)
    return PolicySet(
        version=draft.content.hexdigest(),
        routes=routes,
        limits=parts.limits,
        keys=parts.keys,
        upstreams=parts.upstreams,
        files=tuple(draft.files),
        authentication=parts.schemes,
        retries=parts.retries,
        breakers=parts.breakers,
        credentials=credentials,
        classes=classes,
        beside=tuple(draft.beside),
        loaded_at=rfc3339(time_ns() // 1000),
    )


def _warn_unused(draft: Draft) -> None:
    """Only when everything could be read: what uses it may stand in what could not."""
    wrong_routes = any(route.model is None for route in draft.sections["routes"].values())
    if not draft.complete or draft.broken or wrong_routes:
        return
    for section in ("authentication", "keys", "limits", "breakers", "retries", "upstreams"):
        for entry in draft.sections[section].values():
            if not entry.used and not (section == "keys" and entry.name in WELL_KNOWN_KEYS):
                message = f"{SINGULAR[section]} '{entry.name}' is defined but not used"
                draft.findings.warn(entry.node.named, "unused", message)
