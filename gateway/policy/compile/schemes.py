"""Schemes of authentication and their use on routes: from what was written to the frozen values."""

import importlib.util
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from gateway.core.access import authentication as core
from gateway.core.http.fields import HOP_BY_HOP
from gateway.core.keys import VOUCHED, KeyFrom, KeyPart
from gateway.core.limits import Limit
from gateway.policy.beside import beside
from gateway.policy.files import read_text
from gateway.policy.findings import Findings, Where, quoted
from gateway.policy.gather import Draft, Entry
from gateway.policy.models import authentication as models
from gateway.policy.models import key_parts
from gateway.policy.models.strict import Items
from gateway.policy.nodes import Node, compose
from gateway.policy.secret import dereference, is_inline, is_reference
from gateway.policy.validate import validate
from gateway.policy.words import did_you_mean

_PEPPER_BYTES = range(16, 65)  # blake2b takes no more
MAX_LEEWAY_US = 600_000_000
MIN_REFRESH_US = 10_000_000
_SECRET_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}  # RFC 7518 §3.2
_NOT_FOR_CREDENTIALS = {name.decode() for name in HOP_BY_HOP} | {"host", "content-length", "cookie", "expect"}


def compile_schemes(draft: Draft) -> dict[str, core.Scheme]:
    """The schemes by name. One that cannot be used is reported and left out."""
    compiled = {entry.name: _compile(entry, draft) for entry in draft.valid("authentication")}
    return {name: scheme for name, scheme in compiled.items() if scheme is not None}


def _compile(entry: Entry, draft: Draft) -> core.Scheme | None:
    model = entry.model
    if model.header in _NOT_FOR_CREDENTIALS:
        message = f"credentials cannot come in {quoted(model.header)}"
        draft.findings.error(entry.node.at("header").where, "bad-header-name", message)
    return _api_keys(entry, draft) if isinstance(model, models.ApiKeys) else _Tokens(entry, draft).compile()


def read_pepper(reference: str, env: Mapping[str, str], findings: Findings) -> bytes:
    """What the option --pepper refers to; a secret itself would be seen by whoever lists the processes."""
    node = Node(Where("--pepper"), reference)
    if not is_reference(reference):
        findings.error(node.where, "inline-secret", "this is no reference to a secret", "env:NAME or file:/path")
        return b""
    return _secret(node, "pepper", _PEPPER_BYTES, env, findings)


def _secret(node: Node, name: str, fit: range, env: Mapping[str, str], findings: Findings) -> bytes:
    """What the reference leads to, b"" when it leads nowhere or stands for itself in a file, which is reported.

    fit  how many bytes it may have
    """
    text = str(node.value)
    if is_inline(node, bool, f"the {name}", findings):
        return b""
    found = (dereference(text, node, env, findings) or "").encode()
    if found and len(found) not in fit:
        most = f" and at most {fit.stop - 1}" if fit is _PEPPER_BYTES else ""
        findings.error(node.where, "weak-secret", f"the {name} must have at least {fit.start} bytes{most}")
    return found


# --- API keys


def _api_keys(entry: Entry, draft: Draft) -> core.ApiKeys:
    model: models.ApiKeys = entry.model
    written = entry.node.child("pepper") if model.pepper else None
    pepper = _secret(written, "pepper", _PEPPER_BYTES, draft.env, draft.findings) if written else b""
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
    text = _read(entry.node.at("file"), model.file, draft)
    draft.findings.lines[str(beside(entry.node, model.file))] = ()  # no excerpts: a key may stand there by mistake
    root = compose(text, str(beside(entry.node, model.file)), draft.findings) if text is not None else None
    found = validate(root, Items[models.ApiKeyEntry], draft.findings) if root is not None else None
    if root is not None and found is not None:
        yield from ((key, root.at(index)) for index, key in enumerate(found))


def _read(node: Node, path: str, draft: Draft) -> str | None:
    """The text of a file that belongs to the policies, and to their version."""
    text = read_text(beside(node, path), draft.findings)
    if text is not None:
        draft.content.update(text.encode())
    return text


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


# --- tokens


class _Tokens:
    """One entry of type jwt on its way to a scheme."""

    def __init__(self, entry: Entry, draft: Draft) -> None:
        self.model: models.Jwt = entry.model
        self.entry = entry
        self.node = entry.node
        self.draft = draft
        self.error = partial(_error, draft.findings)

    def compile(self) -> core.Jwt | None:
        """The scheme, None when something about it is wrong. All of its findings are reported."""
        model, before = self.model, len(self.draft.findings.errors)
        if not _installed():
            hint = "pip install 'ratelimit-gateway[jwt]'"
            self.error(self.node.at("type"), "missing-library", "tokens need PyJWT[crypto], which is missing", hint)
            return None
        self._check_source()
        self._check_times()
        keys = tuple(self._public_keys())
        least = max(_SECRET_BYTES.get(name, 0) for name in model.algorithms)
        written = self.node.child("secret") if model.secret else None
        fit = range(least, 1 << 20)
        secret = _secret(written, "secret", fit, self.draft.env, self.draft.findings) if written else b""
        if len(self.draft.findings.errors) > before:
            return None
        return core.Jwt(
            name=self.entry.name,
            header=model.header,
            issuer=model.issuer,
            audience=model.audience,
            algorithms=model.algorithms,
            jwks=model.jwks,
            ca_file=str(beside(self.node, model.ca_file)) if model.ca_file else "",
            refresh_us=model.refresh,
            keys=keys,
            secret=secret,
            leeway_s=model.leeway // 1_000_000,
            claims=_claims_asked(self.draft),
            forward_credentials=model.forward_credentials,
            source=self.entry.source,
        )

    def _check_source(self) -> None:
        """One source of keys, and only algorithms that fit it: a public key must never serve as an HMAC's secret."""
        model = self.model
        sources = [name for name in ("jwks", "keys", "secret") if getattr(model, name)]
        if len(sources) != 1:
            message = "give exactly one of jwks, keys and secret"
            self.error(self.node, "conflicting-keys" if sources else "missing-key", message, named=True)
            return
        for index, name in enumerate(model.algorithms):
            if (name in models.SYMMETRIC) != (sources == ["secret"]):
                needs = "a secret" if name in models.SYMMETRIC else "public keys (jwks or keys)"
                place = self.node.at("algorithms", index)
                self.error(place, "conflicting-keys", f"{name} needs {needs}; this scheme has {sources[0]}")

    def _check_times(self) -> None:
        model = self.model
        if model.leeway > MAX_LEEWAY_US:
            self.error(self.node.at("leeway"), "out-of-range", "the leeway must be at most 10m")
        if model.refresh < MIN_REFRESH_US:
            self.error(self.node.at("refresh"), "out-of-range", "keys are fetched every 10s at most")

    def _public_keys(self) -> Iterator[str]:
        """The texts of the key files, each with at least one key that is of use."""
        from gateway.identity.keys import BadKeys, read_keys

        for index, path in enumerate(self.model.keys):
            node = self.node.at("keys", index)
            if "-----" in path or path.lstrip().startswith("{"):
                self.error(node, "inline-secret", "keys are names of files", "write the key into a file of its own")
                continue
            text = _read(node, path, self.draft)
            try:
                if text is not None:
                    read_keys(text)
                    yield text
            except BadKeys as bad:
                self.error(node, "bad-key-file", f"no public keys in {beside(node, path)}: {bad}")


def _error(findings: Findings, node: Node, code: str, message: str, hint: str = "", *, named: bool = False) -> None:
    findings.error(node.named if named else node.where, code, message, hint)


def _installed() -> bool:
    return all(importlib.util.find_spec(name) is not None for name in ("jwt", "cryptography"))


def _claims_asked(draft: Draft) -> frozenset[str]:
    names = {name for entry in draft.valid("routes") for name in entry.model.require}
    parts = (entry.model for entry in draft.valid("keys"))
    return frozenset(names | {part.claim for part in parts if isinstance(part, key_parts.JwtKey)})


# --- routes


def schemes_of(
    entry: Entry, own: Iterable[Limit], keys: Mapping[str, KeyPart], schemes: Mapping[str, core.Scheme], draft: Draft
) -> tuple[core.Scheme, ...]:
    """The schemes of a route, as far as they are valid."""
    model, node, findings = entry.model, entry.node, draft.findings
    for index, name in enumerate(model.authenticate):
        if name in model.authenticate[:index]:
            where = node.at("authenticate", index).where
            findings.error(where, "duplicate-name", f"scheme {quoted(name)} stands twice on this route")
    if model.require and not model.authenticate:
        message = "require needs callers that are known"
        findings.error(node.at("require").named, "no-authentication", message, "authenticate: [name of a scheme]")
    found = tuple(schemes[name] for name in model.authenticate if name in schemes)
    if len(found) == len(model.authenticate):
        _check_vouched(entry, own, keys, found, findings)
    return found


def _check_vouched(
    entry: Entry,
    own: Iterable[Limit],
    keys: Mapping[str, KeyPart],
    schemes: Sequence[core.Scheme],
    findings: Findings,
) -> None:
    """A key part that credentials vouch for needs a scheme whose credentials can."""
    by_entry = any(isinstance(scheme, core.ApiKeys) for scheme in schemes)
    for limit in own:
        asked: Any = (limit.key, *(dict(override.match) for override in limit.overrides))
        for name in dict.fromkeys(name for some in asked for name in some):
            source = keys[name].source if name in keys else None
            if source in VOUCHED and not (by_entry if source is KeyFrom.API_KEY_ENTRY else schemes):
                message = f"limit {quoted(limit.name)} counts by {quoted(name)} from {source}, which nobody vouches for"
                where = entry.node.at("limits", entry.model.limits.index(limit.name)).where
                findings.error(where, "no-authentication", message, "authenticate: [name of a scheme]")
