"""A route's cache: from what was written to the frozen values that answers are kept by."""

from gateway.core import caching as core
from gateway.core.fields import ADDRESS_FIELDS, HOP_BY_HOP, OURS_UPSTREAM
from gateway.policy import caching as models
from gateway.policy.findings import Findings, quoted
from gateway.policy.nodes import Node

_EACH_CALLS_OWN = {name.decode() for name in HOP_BY_HOP | OURS_UPSTREAM | ADDRESS_FIELDS | {b"via"}}


def cache_of(model: models.Cache | None, node: Node, findings: Findings) -> core.Cache | None:
    """The cache of one route.

    node  of the key `cache`
    """
    if model is None:
        return None
    for index, name in enumerate(model.vary_headers):
        if name in _EACH_CALLS_OWN:
            message = f"{quoted(name)} is written by the gateway: no answer depends on what callers say in it"
            findings.error(node.at("vary_headers", index).where, "bad-header-name", message)
    if model.max_entry > model.max_size:
        findings.error(node.named, "out-of-range", "max_entry is more than max_size")
    if model.override and not model.ttl:
        findings.error(node.at("override").where, "conflicting-keys", "override needs a ttl of more than 0s")
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
        per_credential=model.per_credential,
        shared=model.store == "shared",
    )
