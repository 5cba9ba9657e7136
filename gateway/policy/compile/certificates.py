"""Files of certificates that a set names for sockets to others, looked at before anything runs on them.

A warning, no error: where policies are checked these files need not be, and what is there need not be what is used.
"""

import ssl
from collections.abc import Callable
from pathlib import Path

from gateway.certificate_files import show, trusting
from gateway.policy.beside import beside
from gateway.policy.findings import Findings
from gateway.policy.gather import Draft
from gateway.policy.models.authentication import Jwt
from gateway.policy.models.credentials import OAuthCredential
from gateway.policy.models.policies import Upstream
from gateway.policy.nodes import Node


def check_certificates(draft: Draft) -> None:
    """Warn of those with which a gateway would not start on this machine. A key that is not here is passed over where
    secrets need not be."""
    for entry in draft.valid("upstreams"):
        if entry.model.url.scheme == "https":
            _upstream(entry.model, entry.node.at("tls"), draft.findings)
    for entry in draft.valid("authentication"):
        if isinstance(entry.model, Jwt) and entry.model.jwks:
            _authorities(entry.model.ca_file, entry.node.at("ca_file"), draft.findings)
    for entry in draft.valid("credentials"):
        if isinstance(entry.model, OAuthCredential):
            _authorities(entry.model.ca_file, entry.node.at("ca_file"), draft.findings)


def _upstream(model: Upstream, node: Node, findings: Findings) -> None:
    tls = model.tls
    _authorities(tls.ca_file, node.at("ca_file"), findings)
    if not (tls.certificate and tls.key):  # one alone is an error of its own
        return
    certificate, key = beside(node, tls.certificate), beside(node, tls.key)
    if findings.need_secrets or key.exists():
        _try(lambda: _shown(certificate, key), node.at("certificate"), findings)


def _shown(certificate: Path, key: Path) -> None:
    show(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), str(certificate), str(key))


def _authorities(ca_file: str, node: Node, findings: Findings) -> None:
    if ca_file:
        _try(lambda: trusting(str(beside(node, ca_file))), node, findings)


def _try(look: Callable[[], object], node: Node, findings: Findings) -> None:
    try:
        look()
    except OSError as error:
        findings.warn(node.where, "bad-certificate", f"a gateway would not start here: {error.strerror or error}")
