"""Loaded policies and effective settings as JSON documents, with where each came from and without secrets."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from gateway.core.limits import Algorithm, Limit
from gateway.core.policy import PolicySet, Route, Upstream
from gateway.observe.text import is_secret, without_userinfo
from gateway.settings import Settings
from gateway.store.url import redact_url

SECOND_US = 1_000_000
HIDDEN = "***"

Document = dict[str, Any]


def policy_document(policies: PolicySet) -> Document:
    """The whole loaded set."""
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
    """One limit as loaded; seconds, units."""
    document: Document = {
        "name": limit.name,
        "algorithm": limit.algorithm.value,
        "mode": limit.mode.value,
        "limit": limit.quota,
        "window_s": limit.window_us / SECOND_US,
        "key": list(limit.key),
        "charge": limit.charge.value,
        "on_store_error": limit.on_store_error.value,
        "source": limit.source,
    }
    if limit.algorithm is Algorithm.TOKEN_BUCKET:
        document |= {"rate": limit.rate, "per_s": limit.per_us / SECOND_US}
    if limit.quantum_us > 1:
        document["precision_s"] = limit.quantum_us / SECOND_US
    if limit.overrides:
        document["overrides"] = [
            {"match": dict(override.match), "limit": override.limit.quota, "source": override.limit.source}
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
        "operations": [operation.name for operation in route.operations],
        "source": route.source,
    }


def _upstream(upstream: Upstream) -> Document:
    url = "built-in echo" if upstream.builtin_echo else f"{upstream.scheme}://{upstream.authority}{upstream.base_path}"
    return {"name": upstream.name, "url": url, "source": upstream.source}


def config_document(settings: Settings) -> Document:
    """Every setting with its value and where that came from; secrets masked."""
    origins = dict(settings.sources)
    values = {key: {"value": _shown(key, value), "origin": _origin(origins, key)} for key, value in flat(settings)}
    return {"settings": values}


def flat(value: object, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Settings as (dotted key, value)."""
    assert is_dataclass(value)
    for field in fields(value):
        key, item = prefix + field.name, getattr(value, field.name)
        if key == "sources":
            continue
        if is_dataclass(item):
            yield from flat(item, f"{key}.")
        else:
            yield key, item


def _origin(origins: Mapping[str, str], key: str) -> str:
    """Of the key, or of the section it was given in. In files durations have no unit in their names."""
    for name in (key, key.removesuffix("_us")):
        while name:
            if name in origins:
                return origins[name]
            name = name.rpartition(".")[0]  # noqa: PLW2901
    return "default"


def _shown(key: str, value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    if is_secret(key.rpartition(".")[2]):
        return HIDDEN
    if key == "store.url":
        return redact_url(str(value))
    if isinstance(value, tuple | list):
        return [without_userinfo(str(item)) for item in value]
    return without_userinfo(str(value)) if isinstance(value, str | Path) else str(value)
