"""Credentials that are tokens: from what was written to how they are had, secrets included."""

import re
from base64 import urlsafe_b64decode
from binascii import Error
from importlib.util import find_spec

from gateway.core.access import credentials as core
from gateway.core.access.hidden import Hidden
from gateway.policy.beside import beside
from gateway.policy.findings import MISSING_SECRET, Where, quoted
from gateway.policy.gather import Draft, Entry
from gateway.policy.models import credentials as models
from gateway.policy.nodes import Node
from gateway.policy.secret import dereference

_OF_THE_FORM = ("grant_type", "client_id", "client_secret", "refresh_token", "scope")
_KEY_BYTES = 32
_NEW_KEY = "make one: python3 -c 'import base64, os; print(base64.urlsafe_b64encode(os.urandom(32)).decode())'"


class OAuthCompiling:
    """One entry of `type: oauth2` on its way."""

    def __init__(self, entry: Entry, draft: Draft) -> None:
        self._model: models.OAuthCredential = entry.model
        self._node = entry.node
        self._draft = draft

    def oauth(self) -> core.OAuth:
        """Of use only if there are no errors afterwards. All of its findings are reported."""
        model = self._model
        self._check_grant()
        return core.OAuth(
            grant=model.grant,
            token_url=model.token_url,
            client_id=self._text(model.client_id, self._node.at("client_id")),
            client_secret=self._secret("client_secret", model.client_secret),
            refresh_token=self._secret("refresh_token", model.refresh_token),
            scope=tuple(model.scope),
            parameters=self._parameters(),
            client_in_body=model.client_auth == "post",
            ca_file=str(beside(self._node, model.ca_file)) if model.ca_file else "",
            token_keys=self._keys(),
        )

    def _check_grant(self) -> None:
        """Each grant with what it needs, and nothing that it would not use."""
        model, needed = self._model, {"client_credentials": "client_secret", "refresh_token": "refresh_token"}
        if not getattr(model, needed[model.grant]):
            message = f"grant {model.grant} needs a {needed[model.grant]}"
            self._error(self._node.named, "missing-key", message, f"{needed[model.grant]}: env:NAME or file:/path")
        if model.grant == "client_credentials" and model.refresh_token:
            message = "a refresh_token is not used by grant client_credentials"
            self._error(self._node.at("refresh_token").named, "conflicting-keys", message, "grant: refresh_token")

    def _parameters(self) -> tuple[tuple[str, Hidden], ...]:
        found = []
        for name, value in self._model.parameters.items():
            node = self._node.at("parameters", name)
            if name in _OF_THE_FORM:
                self._error(node.named, "conflicting-keys", f"{quoted(name)} of the form is said by a key of its own")
            found.append((name, Hidden(self._text(value, node))))
        return tuple(found)

    def _keys(self) -> tuple[Hidden, ...]:
        """What tokens are sealed with, the first key in front. Without a key they are not kept outside of workers, so
        a refresh token that replaces the one before would be lost."""
        env, node, named = self._draft.env, self._node.at("token_keys"), self._model.token_keys
        text = self._text(named, node) if named else env.get(models.TOKEN_KEYS, "")
        keys = re.split(r"[,\s]+", text.strip()) if text.strip() else []
        where = node if named else self._node.at("grant")
        what = "token_keys" if named else f"the environment variable {models.TOKEN_KEYS}"
        if keys and not all(map(_is_key, keys)):
            self._error(where.where, "bad-secret", f"what {what} holds is not a list of Fernet keys", _NEW_KEY)
        elif keys and find_spec("cryptography") is None:
            message = "sealing tokens needs the library cryptography, which is missing"
            self._error(where.where, "missing-library", message, "pip install 'ratelimit-gateway[oauth]'")
        elif not keys and not named and self._model.grant == "refresh_token":
            message = f"grant refresh_token needs the environment variable {models.TOKEN_KEYS}"
            why = "servers replace refresh tokens; without a key the new one could not be kept"
            self._error(where.where, MISSING_SECRET, message, f"{why}; {_NEW_KEY}")
        return tuple(map(Hidden, keys))

    def _secret(self, name: str, reference: str) -> Hidden:
        return Hidden(self._text(reference, self._node.at(name)) if reference else "")

    def _text(self, text: str, node: Node) -> str:
        """What a reference leads to, any other text as it is; "" when it leads nowhere, which is reported."""
        return dereference(text, node, self._draft.env, self._draft.findings) or ""

    def _error(self, where: Where, code: str, message: str, hint: str = "") -> None:
        self._draft.findings.error(where, code, message, hint)


def _is_key(text: str) -> bool:
    try:
        return len(urlsafe_b64decode(text)) == _KEY_BYTES
    except (Error, ValueError):
        return False
