"""Webhooks of the settings as the gateway works with them, secrets looked up."""

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import replace
from ipaddress import ip_network

from gateway import settings as frozen
from gateway.core.webhooks.receivers import Receiver, Subscription
from gateway.core.webhooks.signatures import secret_bytes
from gateway.policy.beside import beside
from gateway.policy.findings import Findings
from gateway.policy.models.hooks import Target, Webhooks
from gateway.policy.models.intake import Service
from gateway.policy.nodes import Node
from gateway.policy.secret import dereference

Env = Mapping[str, str]


def webhooks_of(model: Webhooks, node: Node, env: Env, findings: Findings) -> frozen.Webhooks:
    """The targets of webhooks that the settings name, ready for use."""
    targets = tuple(
        _subscription(name, target, model.allow, node.at("targets", name), env, findings)
        for name, target in model.targets.items()
    )
    return frozen.Webhooks(targets, model.allow, model.most_waiting)


def _subscription(
    name: str, target: Target, allow: Sequence[str], node: Node, env: Env, findings: Findings
) -> Subscription:
    receiver = receiver_of(name, target, node, env, findings)
    receiver = replace(receiver, allowed=tuple(ip_network(one) for one in allow))
    return Subscription(receiver, target.events, target.connections)


def receiver_of(name: str, model: Target | Service, node: Node, env: Env, findings: Findings) -> Receiver:
    """Who gets webhooks, in public networks only unless something else is said of it."""
    return Receiver(
        name,
        model.url,
        keys_of(model.secrets, node.at("secrets"), env, findings),
        timeout_us=model.timeout,
        concurrency=model.concurrency,
        give_up_us=model.give_up,
        ca_file=_ca_file(model.ca_file, node.at("ca_file"), findings),
        keep=model.keep.at_most if model.keep else 0,
        keep_us=model.keep.for_ if model.keep else 0,
    )


def _ca_file(path: str, node: Node, findings: Findings) -> str:
    """Where certificates are that can be used, "" = the system's."""
    if not path:
        return ""
    file = beside(node, path)
    try:
        ssl.create_default_context(cafile=file)
    except OSError as error:  # ssl.SSLError is one
        findings.error(node.where, "bad-certificate", f"the certificates in {file} cannot be used: {error.strerror}")
    return str(file)


def keys_of(secrets: Sequence[str], node: Node, env: Env, findings: Findings) -> tuple[bytes, ...]:
    """What references to `whsec_` secrets lead to."""
    keys = []
    for index, reference in enumerate(secrets):
        where = node.at(index)
        text = dereference(reference, where, env, findings)
        if text is None:
            continue
        try:
            keys.append(secret_bytes(text))
        except ValueError as error:
            message = f"what {reference} holds cannot be used: {error}"
            findings.error(where.where, "weak-secret", message, 'echo "whsec_$(openssl rand -base64 32)" makes one')
    return tuple(keys)
