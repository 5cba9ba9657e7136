"""A route's cache: from what was written to the frozen values that answers are kept by."""

from collections.abc import Iterable, Mapping

from gateway.core.access.authentication import Scheme
from gateway.core.cache import rules as core
from gateway.core.cache.personal import AUTHORIZATION, COOKIE, Personal
from gateway.core.http.fields import ADDRESS_FIELDS, HOP_BY_HOP, OURS_UPSTREAM
from gateway.core.keys import KeyFrom, KeyPart
from gateway.policy.findings import Findings, quoted
from gateway.policy.models import cache as models
from gateway.policy.nodes import Node

_EACH_CALLS_OWN = {name.decode() for name in HOP_BY_HOP | OURS_UPSTREAM | ADDRESS_FIELDS | {b"via"}}


def cache_of(
    model: models.Cache | None,
    node: Node,
    findings: Findings,
    *,
    schemes: Iterable[Scheme],
    keys: Mapping[str, KeyPart],
) -> core.Cache | None:
    """The cache of one route.

    node     of the key `cache`
    schemes  by which the route knows its callers
    keys     all key parts by name
    """
    if model is None:
        return None
    _check(model, node, findings)
    return core.Cache(
        methods=frozenset(model.match.method),
        paths=model.match.path,
        vary_by=model.vary_by,
        vary_headers=tuple(name.encode() for name in model.vary_headers),
        ttl_us=model.ttl,
        override=model.override,
        stale_while_revalidate_us=model.stale_while_revalidate,
        stale_if_error_us=model.stale_if_error,
        wait_us=model.wait,
        entry_bytes=model.max_entry,
        size_bytes=model.max_size,
        personal=_personal(model, schemes, keys),
        impersonal_headers=tuple(name.encode() for name in model.impersonal_headers),
        per_credential=model.per_credential,
        shared=model.store == "shared",
    )


def _check(model: models.Cache, node: Node, findings: Findings) -> None:
    """What no single key shows to be wrong."""
    for index, name in enumerate(model.vary_headers):
        if name in _EACH_CALLS_OWN:
            message = f"{quoted(name)} is written by the gateway: no answer depends on what callers say in it"
            findings.error(node.at("vary_headers", index).where, "bad-header-name", message)
    if "authorization" in model.impersonal_headers:
        where = node.at("impersonal_headers", model.impersonal_headers.index("authorization")).where
        message = "Authorization always says who is calling"
        findings.error(where, "bad-header-name", message, "per_credential: true, or credentials of the gateway's own")
    if model.max_entry > model.max_size:
        findings.error(node.named, "out-of-range", "max_entry is more than max_size")
    if model.override and not model.ttl:
        findings.error(node.at("override").where, "conflicting-keys", "override needs a ttl of more than 0s")


def _personal(model: models.Cache, schemes: Iterable[Scheme], keys: Mapping[str, KeyPart]) -> Personal:
    """Fields of schemes count whatever they are named. Those do not by whose values callers are kept apart anyway, but
    for the two that HTTP itself knows as one caller's."""
    parts = [keys[name] for name in model.vary_by if name in keys]
    apart = {part.source_name for part in parts if part.source in (KeyFrom.HEADER, KeyFrom.API_KEY)}
    apart.update(model.vary_headers)
    exempt = {name.encode() for name in apart} - {AUTHORIZATION, COOKIE}
    exempt.update(name.encode() for name in model.impersonal_headers)
    return Personal(frozenset(scheme.header.encode() for scheme in schemes), frozenset(exempt))
