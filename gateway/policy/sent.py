"""The head that an upstream would be sent, for people: made by what sends calls, without the values of credentials."""

from collections.abc import Collection
from dataclasses import replace
from typing import Any, NamedTuple

from gateway.core.access.credentials import Credential, with_parameter
from gateway.core.access.hidden import Hidden
from gateway.core.cache.personal import named_like_credentials
from gateway.core.http.client_address import networks, parse, trusted
from gateway.core.http.framing import Fields
from gateway.core.http.hop import Hop
from gateway.core.policy import PolicySet
from gateway.core.preview.explain import Explanation
from gateway.core.upstream_fields import upstream_fields
from gateway.settings import Settings
from gateway.wire.asked import Asked

OF_EACH_CALL = ("X-Request-Id", "traceparent")
"""Fields that are sent besides, with values of the call."""
HIDDEN = "***"


class _Came(NamedTuple):
    peer_ip: str
    scheme: str
    http_host: str
    protocol: str = "HTTP/1.1"


class _Head(NamedTuple):
    fields: Fields
    headers: Any
    upgrade: str = ""
    chunked: bool = False


def sent(
    explanation: Explanation, asked: Asked, client_ip: str, policies: PolicySet, settings: Settings
) -> dict[str, Any] | None:
    """The request line and the fields, in order; None = it is never sent: it is refused before any limit is asked, or
    the sandbox answers.

    client_ip  the peer's; "" = not told, which is sent as `unknown`
    """
    resolved, ask = explanation.resolved, explanation.ask
    if resolved is None or ask is None or resolved.route.fixtures is not None:
        return None
    credential = _masked(ask.credential)
    peer = parse(client_ip)
    came = _Came(client_ip, "https" if settings.listen.tls else "http", asked.http_host)
    fields = tuple((_bytes(name), _bytes(value)) for name, value in asked.headers.items())
    chunked = asked.headers.get("Transfer-Encoding", "").lower() == "chunked"
    lines = upstream_fields(
        resolved.route,
        Hop(settings.name, settings.headers.forwarded),
        came,
        _Head(fields, asked.headers, "", chunked),
        trusted=peer is not None and trusted(peer, networks(settings.trusted_proxies)),
        credential=credential,
    )
    pairs = [line.partition(": ") for line in lines.decode("utf-8", "replace").split("\r\n")[:-1]]
    secret = {scheme.header.lower() for scheme in policies.authentication.values()}
    target = resolved.target
    if credential is not None and not credential.lasting:
        target = with_parameter(target, credential)
    return {
        "line": f"{asked.method} {target} HTTP/1.1",
        "fields": [[name, HIDDEN if _is_secret(name.lower(), secret) else value] for name, _, value in pairs],
        "of_each_call": list(OF_EACH_CALL),
    }


def _masked(credential: Credential | None) -> Credential | None:
    """The same but for what must not be seen."""
    return replace(credential, shown=Hidden(HIDDEN), oauth=None) if credential is not None else None


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _is_secret(name: str, schemes: Collection[str]) -> bool:
    return name in schemes or named_like_credentials(name.encode())
