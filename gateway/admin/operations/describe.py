"""Loaded policies and effective settings as JSON documents, with where each came from and without secrets."""

from typing import Any

from gateway.core.limits import USUAL_STATUS, Algorithm, Limit
from gateway.core.policy import PolicySet, Route
from gateway.core.store_url import redact_url
from gateway.core.units import SECOND_US
from gateway.core.upstream import Upstream
from gateway.policy.effective import amount, place, settings_values
from gateway.settings import Settings

Document = dict[str, Any]


def policy_document(policies: PolicySet) -> Document:
    """The loaded policy set: version, files, limits, routes, upstreams."""
    return {
        "version": policies.version,
        "loaded_at": policies.loaded_at,
        "files": list(policies.files),
        "limits": limit_documents(policies),
        "routes": [_route(route) for route in policies.routes],
        "upstreams": [_upstream(upstream) for upstream in policies.upstreams.values()],
    }


def limit_documents(policies: PolicySet) -> list[Document]:
    """Every limit with its numbers, and the routes that ask it."""
    routes: dict[str, list[str]] = {}
    for route in policies.routes:
        for limit in route.limits:
            routes.setdefault(limit.name, []).append(route.name)
    return [{**limit_document(limit), "routes": routes.get(limit.name, [])} for limit in policies.limits.values()]


def limit_document(limit: Limit) -> Document:
    """One limit as loaded: times in seconds, amounts in units."""
    document: Document = {
        "name": limit.name,
        "algorithm": limit.algorithm.value,
        "mode": limit.mode.value,
        "limit": limit.quota,
        "amount": amount(limit),
        "window_s": limit.window_us / SECOND_US,
        "key": list(limit.key),
        "charge": limit.charge.value,
        "on_store_error": limit.on_store_error.value,
        "source": limit.source,
    }
    if limit.algorithm is Algorithm.TOKEN_BUCKET:
        rate, per_us = limit.said
        document |= {"rate": rate, "per_s": per_us / SECOND_US}
    if limit.calendar is not None:
        document |= {"window": limit.calendar.unit.value, "timezone": str(limit.calendar.zone)}
    if limit.quantum_us > 1:
        document["precision_s"] = limit.quantum_us / SECOND_US
    if limit.status != USUAL_STATUS or limit.detail:
        document["refusal"] = {"status": limit.status, "detail": limit.detail or None}
    if limit.overrides:
        document["overrides"] = [
            {"match": dict(override.match), "limit": override.limit.quota}
            | {"mode": override.limit.mode.value, "source": override.limit.source}
            for override in limit.overrides
        ]
    if limit.shadow is not None:
        document["shadow"] = limit_document(limit.shadow)
    return document


def _route(route: Route) -> Document:
    return {
        "name": route.name,
        "upstream": route.upstream.name,
        "limits": [limit.name for limit in route.limits],
        "authenticate": [scheme.name for scheme in route.authenticate],
        "operations": [operation.name for operation in route.operations],
        "source": route.source,
    }


def _upstream(upstream: Upstream) -> Document:
    return {"name": upstream.name, "url": place(upstream), "source": upstream.source}


def config_document(settings: Settings) -> Document:
    """Every setting with its value and where that came from, as `gateway check --print` shows it; secrets masked."""
    return {"settings": settings_values(settings, redact_url(settings.store.url))}
