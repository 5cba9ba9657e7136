"""Credentials for upstreams: from what was written to the values that calls carry, secrets included."""

import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from urllib.parse import quote

from gateway.core.access import credentials as core
from gateway.core.access.hidden import Hidden
from gateway.core.http.fields import ADDRESS_FIELDS, HOP_BY_HOP, OURS_UPSTREAM
from gateway.policy.compile.oauth import OAuthCompiling
from gateway.policy.findings import quoted
from gateway.policy.gather import Draft, Entry
from gateway.policy.models import credentials as models
from gateway.policy.nodes import Node
from gateway.policy.secret import dereference

_NOT_OURS = {name.decode() for name in HOP_BY_HOP | OURS_UPSTREAM | ADDRESS_FIELDS} | {
    "content-length", "content-type", "via", "cookie", "trailer"
}  # fmt: skip
_FIELD_VALUE = re.compile(r"[!-~](?:[ -~]*[!-~])?").fullmatch


def compile_credentials(draft: Draft) -> dict[str, core.Credential]:
    """The credentials by name. One that cannot be used is reported and left out."""
    found = {entry.name: _Compiling(entry, draft).credential() for entry in draft.valid("credentials")}
    good = {name: one for name, one in found.items() if one is not None}
    _check_rivals(good.values(), draft)
    return good


def credentials_for(upstream: str, credentials: Mapping[str, core.Credential]) -> tuple[core.Credential, ...]:
    """Those of one upstream, in the order in which they are tried."""
    return core.in_order([one for one in credentials.values() if one.upstream == upstream])


def _check_rivals(credentials: Iterable[core.Credential], draft: Draft) -> None:
    seen: dict[object, core.Credential] = {}
    for one in credentials:
        other = seen.setdefault((one.upstream, frozenset(one.match)), one)
        if other is not one:
            message = f"{quoted(one.name)} and {quoted(other.name)} ({other.source}) are for the same callers"
            where = draft.sections["credentials"][one.name].node.named
            draft.findings.error(where, "ambiguous-credentials", message, "give them another match")


class _Compiling:
    """One entry of `credentials` on its way."""

    def __init__(self, entry: Entry, draft: Draft) -> None:
        self._entry = entry
        self._draft = draft
        self._node = entry.node

    def credential(self) -> core.Credential | None:
        """None when something about it is wrong. All of its findings are reported."""
        before = len(self._draft.findings.errors)
        header, parameter, shown = self._shown()
        oauth = OAuthCompiling(self._entry, self._draft).oauth() if self._entry.model.type == "oauth2" else None
        if len(self._draft.findings.errors) > before:
            return None
        model = self._entry.model
        return core.Credential(
            name=self._entry.name,
            upstream=model.upstream,
            match=tuple(model.match.items()),
            header=header,
            parameter=parameter,
            shown=Hidden(shown),
            kind=model.type,
            oauth=oauth,
            source=self._entry.source,
        )

    def _shown(self) -> tuple[str, str, str]:
        """Field, parameter (one of both is empty), and what is shown there."""
        model = self._entry.model
        if isinstance(model, models.BasicCredential):
            return "Authorization", "", f"Basic {self._user_and_password(model)}"
        if isinstance(model, models.BearerCredential):
            return "Authorization", "", f"Bearer {self._field_value('token')}"
        if isinstance(model, models.QueryCredential):
            return "", model.name, quote(self._secret("value"), safe="")
        if isinstance(model, models.OAuthCredential):
            return self._field(), "", model.prefix
        assert isinstance(model, models.HeaderCredential)
        return self._field(), "", model.prefix + self._field_value("value")

    def _field(self) -> str:
        """The name of the field, as it is written."""
        model = self._entry.model
        if model.name in _NOT_OURS:
            self._error("name", "bad-header-name", f"credentials cannot go in {quoted(model.name)}")
        if model.prefix and not re.fullmatch(r"[!-~][ -~]*", model.prefix):
            self._error("prefix", "bad-value", "a prefix is printable ASCII text that does not begin with a space")
        written = self._node.child("name")
        return str(written.value) if written is not None else "Authorization"

    def _user_and_password(self, model: models.BasicCredential) -> str:
        written = self._node.at("username")
        user = dereference(model.username, written, self._draft.env, self._draft.findings) or ""
        if ":" in user:
            self._error("username", "bad-value", "a user name has no colon (RFC 7617 §2)")
        return b64encode(f"{user}:{self._secret('password')}".encode()).decode()

    def _field_value(self, name: str) -> str:
        secret = self._secret(name)
        if secret and not _FIELD_VALUE(secret):
            self._error(name, "bad-secret", "the secret must be one line of printable ASCII text")
        return secret

    def _secret(self, name: str) -> str:
        """What the reference under this key leads to; "" when it leads nowhere, which is reported."""
        node = self._node.at(name)
        return dereference(str(node.value), node, self._draft.env, self._draft.findings) or ""

    def _error(self, name: str, code: str, message: str) -> None:
        where: Node = self._node.at(name)
        self._draft.findings.error(where.where, code, message)
