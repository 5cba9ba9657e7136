"""Credentials as operators see them: whose they are, where they go and how tokens are had, never a secret."""

from typing import Any

from gateway.core.access.credentials import Credential, OAuth


def credential_values(credential: Credential) -> dict[str, Any]:
    """A credential as JSON, without its secret."""
    return {
        "upstream": credential.upstream,
        "match": dict(credential.match),
        "type": credential.kind,
        "in": credential.header or f"parameter {credential.parameter}",
        **(_oauth_values(credential.oauth) if credential.oauth is not None else {}),
        "source": credential.source,
    }


def _oauth_values(oauth: OAuth) -> dict[str, Any]:
    return {
        "grant": oauth.grant,
        "token_url": oauth.token_url.partition("?")[0],
        "scope": list(oauth.scope),
        "shared": bool(oauth.token_keys),
    }


def credential_text(credential: Credential) -> str:
    """A credential in one line for people, without its secret."""
    whose = ", ".join(f"{name}={value}" for name, value in credential.match) or "everybody"
    where = credential.header or f"parameter {credential.parameter}"
    return f"{credential.kind} in {where} for {credential.upstream}, of {whose}"
