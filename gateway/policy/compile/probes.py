"""What connection tests ask upstreams: from what was written to the frozen value."""

from gateway.core import upstream as core
from gateway.core.classes import statuses_of
from gateway.policy.gather import Draft, Entry
from gateway.policy.models import probes as models

LEAST_INTERVAL_US = 5_000_000


def probe(entry: Entry, connections: int, draft: Draft) -> core.Probe | None:
    """What the connection tests of one upstream ask it; None = its policy says nothing of them.

    connections  how many its credentials name
    """
    model: models.Probe | None = entry.model.probe
    if model is None:
        return None
    node = entry.node.at("probe")
    if model.interval is not None and model.interval < LEAST_INTERVAL_US:
        draft.findings.error(node.at("interval").where, "out-of-range", "must be at least 5s")
    if model.interval is not None and not connections:
        message = "nothing is tested by itself: no entry of `credentials` names a connection of this upstream"
        draft.findings.warn(node.at("interval").where, "never-applies", message, "match: {connection: ...}")
    expect = frozenset[int]().union(*map(statuses_of, model.expect))
    return core.Probe(model.method, model.path, expect, model.interval or 0)
