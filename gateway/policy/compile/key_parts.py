"""Key parts that a route's calls can never have: of a path without that name, of credentials that nobody looks at."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from gateway.core.access.authentication import ApiKeys, Scheme
from gateway.core.guards import Breaker
from gateway.core.keys import VOUCHED, KeyFrom, KeyPart, OnMissing
from gateway.core.limits import Limit
from gateway.core.policy import Match
from gateway.core.upstream import Upstream
from gateway.policy.findings import Findings, quoted
from gateway.policy.models.policies import Route
from gateway.policy.nodes import Node


class Asker(NamedTuple):
    """One part of a route that goes by key parts.

    does       who it is, and what it does by them, as a message begins
    key        names of those that it cannot do without
    overrides  names of others, that it looks at as well
    node       where the route names it
    must       False: without one of them it does nothing on this route, which may be meant
    """

    does: str
    key: Sequence[str]
    node: Node
    overrides: Sequence[str] = ()
    must: bool = True

    def tell(self, findings: Findings, code: str, message: str, hint: str) -> None:
        """What is wrong with it, as an error or a warning."""
        (findings.error if self.must else findings.warn)(self.node.where, code, f"{self.does} {message}", hint)


def askers(
    model: Route, node: Node, limits: Mapping[str, Limit], breaker: Breaker | None, keys: Mapping[str, KeyPart]
) -> Iterator[Asker]:
    """Those that the route itself names, as far as they are valid. `node` is the route's."""
    for index, name in enumerate(model.limits):
        if name in limits:
            limit = limits[name]
            matched = [part for override in limit.overrides for part, _ in override.match]
            yield Asker(f"limit {quoted(name)} counts by", limit.key, node.at("limits", index), matched)
    if breaker is not None:
        place, does = node.at("breaker"), f"breaker {quoted(breaker.name)} counts by"
        yield Asker(does, _that(OnMissing.REJECT, breaker.key, keys), place)
        yield Asker(does, _that(OnMissing.SKIP, breaker.key, keys), place, must=False)
    cache, sandbox = model.modules.cache, model.modules.sandbox
    if cache is not None:
        place = node.at("modules", "cache", "vary_by")
        yield Asker("the cache keeps callers apart by", cache.vary_by, place)
    if sandbox is not None and sandbox.when.key is not None:
        place = node.at("modules", "sandbox", "when", "key")
        yield Asker("the sandbox knows its callers by", (sandbox.when.key,), place)


def pausing(upstream: Upstream, node: Node, keys: Mapping[str, KeyPart]) -> Iterator[Asker]:
    """What pauses the route's upstream, which other routes use too: only parts without which calls are refused."""
    if upstream.learning is not None:
        musts = _that(OnMissing.REJECT, upstream.learning.key, keys)
        yield Asker(f"upstream {quoted(upstream.name)} is paused by", musts, node.at("upstream"))


def _that(on_missing: OnMissing, names: Sequence[str], keys: Mapping[str, KeyPart]) -> list[str]:
    """Those of which this follows where a call lacks them. What routes share counts the others' calls all the same."""
    return [name for name in names if name in keys and keys[name].on_missing is on_missing]


def check_path_parts(asker: Asker, keys: Mapping[str, KeyPart], match: Match, findings: Findings) -> None:
    """A key part read from `{name}` needs a path with that name."""
    segments = (match.path.segments or ()) if match.path else ()
    for part in (keys[name] for name in asker.key if name in keys):
        wanted = "{" + part.source_name + "}"
        if part.source is KeyFrom.PATH and wanted not in segments:
            message = f"{wanted} of the path, but this route's path has no {wanted}"
            asker.tell(findings, "no-path-parameter", message, f'match: {{path: "/{wanted}/**"}}')


def check_vouched(asker: Asker, keys: Mapping[str, KeyPart], schemes: Sequence[Scheme], findings: Findings) -> None:
    """A key part that credentials vouch for needs a scheme whose credentials can."""
    by_entry = any(isinstance(scheme, ApiKeys) for scheme in schemes)
    for name in dict.fromkeys((*asker.key, *asker.overrides)):
        source = keys[name].source if name in keys else None
        if source in VOUCHED and not (by_entry if source is KeyFrom.API_KEY_ENTRY else schemes):
            message = f"{quoted(name)} from {source}, which nobody vouches for"
            asker.tell(findings, "no-authentication", message, "authenticate: [name of a scheme]")
