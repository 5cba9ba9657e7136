"""The intake of the settings as the gateway works with it, secrets looked up."""

from dataclasses import replace

from gateway import settings as frozen
from gateway.core.units import SECOND_US
from gateway.core.webhooks import intake as core
from gateway.core.webhooks.receivers import Receiver
from gateway.policy.compile.hooks import Env, keys_of, receiver_of
from gateway.policy.findings import Findings
from gateway.policy.models.intake import Intake, Service, Source
from gateway.policy.nodes import Node
from gateway.policy.secret import dereference

MIN_SECRET_CHARS = 8


def intake_of(model: Intake, node: Node, env: Env, findings: Findings) -> frozen.IntakeSettings:
    """The sources of webhooks and their services that the settings name, ready for use."""
    sources = tuple(
        _source(name, source, node.at("sources", name), env, findings) for name, source in model.sources.items()
    )
    return frozen.IntakeSettings(model.path, sources)


def _source(name: str, source: Source, node: Node, env: Env, findings: Findings) -> core.Source:
    scheme = core.Scheme(source.verify)
    standard = scheme is core.Scheme.STANDARD
    if source.place and not source.order_by:
        message = "place says which of those with one key comes first, and order_by is missing"
        findings.error(node.at("place").named, "missing-key", message)
    return core.Source(
        name,
        scheme,
        _keys(source, node.at("secrets"), env, findings),
        tuple(_service(one, service, node.at("to", one), env, findings) for one, service in source.to.items()),
        header=source.signature_header,
        prefix=source.prefix,
        encoding=source.encoding,
        id_header=source.id_header or ("webhook-id" if standard else ""),
        timestamp_header=source.timestamp_header or ("webhook-timestamp" if standard else ""),
        tolerance_us=source.tolerance,
        late_us=source.late_after,
        order_by=source.order_by or "",
        place=source.place or "",
        max_bytes=source.body,
        time_us=source.time,
        seen_us=source.remember,
        most_waiting=source.most_waiting,
        rate=source.rate.limit if source.rate else 0,
        per_us=source.rate.window if source.rate else SECOND_US,
    )


def _keys(source: Source, node: Node, env: Env, findings: Findings) -> tuple[bytes, ...]:
    if source.verify == "standard":
        return keys_of(source.secrets, node, env, findings)
    keys = []
    for index, reference in enumerate(source.secrets):
        where = node.at(index)
        text = dereference(reference, where, env, findings)
        if text is None:
            continue
        if len(text) < MIN_SECRET_CHARS or (source.verify == "basic" and ":" not in text):
            wanted = f"at least {MIN_SECRET_CHARS} characters" + (" like user:password" * (source.verify == "basic"))
            findings.error(where.where, "weak-secret", f"what {reference} holds must be {wanted}")
        keys.append(text.encode())
    return tuple(keys)


def _service(name: str, service: Service, node: Node, env: Env, findings: Findings) -> Receiver:
    return replace(receiver_of(name, service, node, env, findings), anywhere=True)
