"""API keys: from entries with hashes to the scheme that knows callers by them."""

from collections.abc import Iterator, Mapping

from gateway.core.access import authentication as core
from gateway.core.keys import VOUCHED, KeyFrom
from gateway.policy.beside import beside
from gateway.policy.compile.referred import read_beside, read_secret
from gateway.policy.findings import Findings, Where, quoted
from gateway.policy.gather import Draft, Entry
from gateway.policy.models import authentication as models
from gateway.policy.models.strict import Items
from gateway.policy.nodes import Node, compose
from gateway.policy.secret import is_reference
from gateway.policy.validate import validate
from gateway.policy.words import did_you_mean

_PEPPER_BYTES = range(16, 65)  # blake2b takes no more


def api_keys(entry: Entry, draft: Draft) -> core.ApiKeys:
    """The scheme of an entry with `type: api_keys`. What is wrong with it is reported."""
    model: models.ApiKeys = entry.model
    written = entry.node.child("pepper") if model.pepper else None
    pepper = read_secret(written, "pepper", _PEPPER_BYTES, draft.env, draft.findings) if written else b""
    entries: dict[str, dict[bytes, core.Identity]] = {}
    places: dict[str, Node] = {}
    known = _claim_names(draft)
    for key, node in _keys(entry, draft):
        if key.hash in places:
            message = f"this key stands twice: see {places[key.hash].where}"
            draft.findings.error(node.at("hash").where, "duplicate-name", message)
        places.setdefault(key.hash, node)
        _check_claims(key, node, known, draft)
        kind, _, digits = key.hash.partition(":")
        if kind != "blake2b" and pepper:
            message = f"a {kind} hash takes no pepper"
            draft.findings.error(node.at("hash").where, "conflicting-keys", message, "make it with: gateway hash-key")
        identity = core.Identity(entry.name, key.id or digits[:8], key.claims)
        entries.setdefault(kind, {})[bytes.fromhex(digits)] = identity
    if not entries and not draft.findings.errors:
        draft.findings.error(entry.node.named, "empty", f"scheme {quoted(entry.name)} knows no key: it lets nobody in")
    return core.ApiKeys(entry.name, model.header, entries, model.forward_credentials, pepper, entry.source)


def _keys(entry: Entry, draft: Draft) -> Iterator[tuple[models.ApiKeyEntry, Node]]:
    """Those in the policy, then those in the file, each with its place."""
    model: models.ApiKeys = entry.model
    for index, key in enumerate(model.keys):
        yield key, entry.node.at("keys", index)
    if not model.file:
        return
    text = read_beside(entry.node.at("file"), model.file, draft)
    draft.findings.lines[str(beside(entry.node, model.file))] = ()  # no excerpts: a key may stand there by mistake
    root = compose(text, str(beside(entry.node, model.file)), draft.findings) if text is not None else None
    found = validate(root, Items[models.ApiKeyEntry], draft.findings) if root is not None else None
    if root is not None and found is not None:
        yield from ((key, root.at(index)) for index, key in enumerate(found))


def _claim_names(draft: Draft) -> Mapping[str, KeyFrom | None]:
    """What an entry may vouch for: names of key parts with their source, and what routes require (None)."""
    required = {name: None for entry in draft.valid("routes") for name in entry.model.require}
    return {**required, **{entry.name: KeyFrom(entry.model.source) for entry in draft.valid("keys")}}


def _check_claims(key: models.ApiKeyEntry, node: Node, known: Mapping[str, KeyFrom | None], draft: Draft) -> None:
    """A claim that nobody reads is a mistake, and a dangerous one where a header is believed instead."""
    for name in key.claims:
        where, source = node.at("claims", name).named, known.get(name)
        if name not in known:
            if draft.complete:
                message = f"{quoted(name)} is neither a key part nor required by a route"
                draft.findings.error(where, "undefined-name", message, did_you_mean(name, known))
        elif source is not None and source not in VOUCHED:
            message = f"key part {quoted(name)} is read from {source}, not from API keys"
            draft.findings.error(where, "not-vouched", message, f"{name}: {{from: api_key_entry, on_missing: reject}}")


def read_pepper(reference: str, env: Mapping[str, str], findings: Findings) -> bytes:
    """What the option --pepper refers to; a secret itself would be seen by whoever lists the processes."""
    node = Node(Where("--pepper"), reference)
    if not is_reference(reference):
        findings.error(node.where, "inline-secret", "this is no reference to a secret", "env:NAME or file:/path")
        return b""
    return read_secret(node, "pepper", _PEPPER_BYTES, env, findings)
