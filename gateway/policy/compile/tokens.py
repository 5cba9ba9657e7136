"""Tokens (JWT) that callers show: from an entry to the scheme that knows callers by them."""

import importlib.util
from collections.abc import Iterator
from functools import partial

from gateway.core.access import authentication as core
from gateway.core.units import SECOND_US
from gateway.policy.beside import beside
from gateway.policy.compile.referred import read_beside, read_secret
from gateway.policy.findings import Findings
from gateway.policy.gather import Draft, Entry
from gateway.policy.models import authentication as models
from gateway.policy.models import key_parts
from gateway.policy.nodes import Node

MAX_LEEWAY_US = 600_000_000
MIN_REFRESH_US = 10_000_000
_SECRET_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}  # RFC 7518 §3.2


class Tokens:
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
        secret = read_secret(written, "secret", fit, self.draft.env, self.draft.findings) if written else b""
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
            leeway_s=model.leeway // SECOND_US,
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
            text = read_beside(node, path, self.draft)
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
