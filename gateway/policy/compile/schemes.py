"""Schemes of authentication and their use on routes: from what was written to the frozen values."""

from collections.abc import Mapping

from gateway.core.access import authentication as core
from gateway.core.http.fields import HOP_BY_HOP
from gateway.policy.compile.api_keys import api_keys
from gateway.policy.compile.references import check_twice
from gateway.policy.compile.tokens import Tokens
from gateway.policy.findings import quoted
from gateway.policy.gather import Draft, Entry
from gateway.policy.models import authentication as models

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
    return api_keys(entry, draft) if isinstance(model, models.ApiKeys) else Tokens(entry, draft).compile()


def schemes_of(entry: Entry, schemes: Mapping[str, core.Scheme], draft: Draft) -> tuple[core.Scheme, ...]:
    """The schemes of a route, as far as they are valid."""
    model, node, findings = entry.model, entry.node, draft.findings
    check_twice(model.authenticate, node.at("authenticate"), "scheme {} stands twice on this route", findings)
    if model.require and not model.authenticate:
        message = "require needs callers that are known"
        findings.error(node.at("require").named, "no-authentication", message, "authenticate: [name of a scheme]")
    return tuple(schemes[name] for name in model.authenticate if name in schemes)
