"""Upstreams and routes: from what was written to the frozen values that calls are routed with."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from gateway.core import policy as core
from gateway.core.access.authentication import Scheme
from gateway.core.access.credentials import Credential
from gateway.core.cache.rules import Cache
from gateway.core.classes import Classes
from gateway.core.guards import Breaker
from gateway.core.keys import KeyPart
from gateway.core.limits import Limit, Mode
from gateway.core.retry import Retry
from gateway.core.sandbox import Sandbox, When
from gateway.core.upstream import Timeouts, Upstream
from gateway.policy.beside import beside
from gateway.policy.compile.cache import cache_of
from gateway.policy.compile.credentials import credentials_for
from gateway.policy.compile.fixtures import compile_fixtures
from gateway.policy.compile.key_parts import askers, check_path_parts, check_vouched, pausing
from gateway.policy.compile.precedence import in_order, rivals
from gateway.policy.compile.probes import probe
from gateway.policy.compile.reach import check_reach
from gateway.policy.compile.references import check_twice
from gateway.policy.compile.retries import learning, pace
from gateway.policy.compile.schemes import schemes_of
from gateway.policy.findings import Findings, quoted
from gateway.policy.gather import Draft, Entry
from gateway.policy.models import policies as models
from gateway.policy.models.costs import check_costs, priced
from gateway.policy.models.scalars import OWN_EACH_CALL
from gateway.policy.nodes import Node

WELL_KNOWN_KEYS = ("tenant", "account", "connection")


class Parts(NamedTuple):
    """What routes are put together from, by name, as far as it is valid."""

    keys: Mapping[str, KeyPart]
    limits: Mapping[str, Limit]
    breakers: Mapping[str, Breaker]
    retries: Mapping[str, Retry]
    upstreams: Mapping[str, Upstream]
    schemes: Mapping[str, Scheme]


def compile_upstreams(draft: Draft, classes: Classes, credentials: Mapping[str, Credential]) -> dict[str, Upstream]:
    """The upstreams by name."""
    return {
        entry.name: _upstream(entry, classes, credentials_for(entry.name, credentials), draft)
        for entry in draft.valid("upstreams")
    }


def _upstream(entry: Entry, classes: Classes, credentials: tuple[Credential, ...], draft: Draft) -> Upstream:
    model: models.Upstream = entry.model
    place, tls = model.url, model.tls
    if bool(tls.certificate) != bool(tls.key):
        draft.findings.error(
            entry.node.at("tls").named, "missing-key", "tls needs both certificate and key, or neither"
        )
    return Upstream(
        name=entry.name,
        scheme=place.scheme,
        host=place.host,
        port=place.port,
        authority=place.authority,
        base_path=place.base_path,
        unix_path=place.unix_path,
        builtin_echo=place.builtin_echo,
        rewrite_host=model.host == "rewrite",
        timeouts=Timeouts(model.timeouts.connect, model.timeouts.first_byte, model.timeouts.idle, model.timeouts.total),
        max_sockets=model.max_sockets,
        allow_private=model.allow_private,
        tls_ca_file=_path(entry, tls.ca_file),
        tls_certificate=_path(entry, tls.certificate),
        tls_key=_path(entry, tls.key),
        tls_server_name=tls.server_name,
        source=entry.source,
        learning=learning(entry, classes, draft),
        pace=pace(entry),
        credentials=credentials,
        credentials_optional=model.credentials == "optional",
        goes_on_us=model.goes_on or 0,
        probe=probe(entry, sum("connection" in dict(one.match) for one in credentials), draft),
    )


def _path(entry: Entry, path: str) -> str:
    """Relative to the file it is written in; "" stays empty."""
    return str(beside(entry.node, path)) if path else ""


def compile_routes(draft: Draft, parts: Parts) -> tuple[core.Route, ...]:
    """The routes in order of precedence. One that refers to something invalid is left out."""
    routes: dict[str, core.Route] = {}
    for entry in draft.valid("routes"):
        route = _RouteOf(entry, draft).compile(parts)
        if route is not None:
            routes[entry.name] = route
    for earlier, later in rivals(routes.values()):
        message = f"route {quoted(later.name)} and route {quoted(earlier.name)} ({earlier.source}) match the same calls"
        where = draft.sections["routes"][later.name].node.at("match").named
        draft.findings.error(where, "ambiguous-route", message, "make one of them more specific")
    return in_order(routes.values())


class _RouteOf:
    """One entry of `routes` on its way to a route."""

    def __init__(self, entry: Entry, draft: Draft) -> None:
        self.model: models.Route = entry.model
        self.entry = entry
        self.node = entry.node
        self.draft = draft
        self.findings = draft.findings

    def compile(self, parts: Parts) -> core.Route | None:
        """The route, None when what it needs is not valid. All of its findings are reported."""
        model = self.model
        match = _match(model.match, self.node.at("match"), self.findings)
        strip_prefix = self._strip_prefix(match)
        check_twice(model.limits, self.node.at("limits"), "limit {} stands twice on this route", self.findings)
        own = {name: parts.limits[name] for name in model.limits if name in parts.limits}
        authenticate = schemes_of(self.entry, parts.schemes, self.draft)
        self._check_sources(match, authenticate, own, parts)
        check_costs(model.cost, self.node, model.limits, own, self.findings)
        cost, measures = priced(model.cost)
        operations = tuple(self._operation(index, own) for index in range(len(model.operations)))
        upstream = parts.upstreams.get(model.upstream)
        if upstream is None:
            return None
        asked = tuple(limit for limit in own.values() if _may_act(limit))
        sandbox = self._sandbox()
        breaker = parts.breakers.get(model.breaker or "")
        node = self.node.at("modules", "cache")
        cache = cache_of(model.modules.cache, node, self.findings, schemes=authenticate, keys=parts.keys)
        route = core.Route(
            name=model.name,
            match=match,
            upstream=upstream,
            limits=asked,
            keys=_key_parts(asked, breaker, upstream, cache, sandbox, parts.keys),
            operations=operations,
            strip_prefix=strip_prefix,
            source=self.entry.source,
            authenticate=authenticate,
            require=tuple(model.require.items()),
            retry=parts.retries.get(model.retry or ""),
            breaker=breaker,
            cost=cost,
            measures=measures,
            cache=cache,
            sandbox=sandbox,
        )
        check_reach(route, self.node, self.findings)
        return route

    def _sandbox(self) -> Sandbox | None:
        """None also when something about it is wrong."""
        model, node = self.model.modules.sandbox, self.node.at("modules", "sandbox")
        if model is None:
            return None
        when = model.when
        if (when.header is None) == (when.key is None):
            self.findings.error(node.at("when").named, "conflicting-keys", "give either header or key")
        if when.header in OWN_EACH_CALL:
            message = f"{when.header} is another for each call and cannot choose"
            self.findings.error(node.at("when", "header").where, "bad-header-name", message)
        if not when.values and when.prefix is None:
            self.findings.error(node.at("when").named, "missing-key", "give values or a prefix")
        fixtures = compile_fixtures(node.at("fixtures"), self.draft)
        chosen = When(when.header or "", when.key or "", frozenset(when.values), when.prefix or "")
        return Sandbox(chosen, fixtures) if fixtures is not None else None

    def _strip_prefix(self, match: core.Match) -> str:
        """Without the slash at its end, so that what is left of the path begins with one."""
        prefix = self.model.strip_prefix
        if prefix is None:
            return ""
        if not _always_begins_with(match.path, prefix):
            message = (
                f"strip_prefix {quoted(prefix.rstrip('/'))} is not the beginning of every path that this route matches"
            )
            self.findings.error(self.node.at("strip_prefix").where, "bad-prefix", message)
        return prefix.rstrip("/")

    def _check_sources(
        self, match: core.Match, authenticate: Sequence[Scheme], own: Mapping[str, Limit], parts: Parts
    ) -> None:
        """What it goes by its calls must be able to have."""
        breaker, upstream = parts.breakers.get(self.model.breaker or ""), parts.upstreams.get(self.model.upstream)
        paused = pausing(upstream, self.node, parts.keys) if upstream is not None else ()
        for asker in (*askers(self.model, self.node, own, breaker, parts.keys), *paused):
            check_path_parts(asker, parts.keys, match, self.findings)
            if len(authenticate) == len(self.model.authenticate):  # else one is wrong, and may be the one that can
                check_vouched(asker, parts.keys, authenticate, self.findings)

    def _operation(self, index: int, own: Mapping[str, Limit]) -> core.Operation:
        operation, node = self.model.operations[index], self.node.at("operations", index)
        check_costs(operation.cost, node, self.model.limits, own, self.findings)
        cost, measures = priced({**self.model.cost, **operation.cost})
        match = _match(operation.match, node.at("match"), self.findings)
        return core.Operation(operation.name, match, operation.entity, cost, measures)


def _may_act(limit: Limit) -> bool:
    """False when the limit is off for everybody."""
    return limit.mode is not Mode.OFF or any(override.limit.mode is not Mode.OFF for override in limit.overrides)


def _key_parts(
    limits: Iterable[Limit],
    breaker: Breaker | None,
    upstream: Upstream,
    cache: Cache | None,
    sandbox: Sandbox | None,
    keys: Mapping[str, KeyPart],
) -> tuple[KeyPart, ...]:
    """What limits with their overrides, breaker, upstream and modules ask for, and the parts that logs show."""
    needed = {*WELL_KNOWN_KEYS, *(breaker.key if breaker else ())}
    for limit in limits:
        needed.update(limit.key, *((name for name, _ in override.match) for override in limit.overrides))
    if upstream.learning is not None:
        needed.update(upstream.learning.key)
    if upstream.pace is not None:
        needed.update(upstream.pace.key)
    if cache is not None:
        needed.update(cache.vary_by)
    needed.update(name for credential in upstream.credentials for name, _ in credential.match)
    if sandbox is not None:
        needed.add(sandbox.when.key)
    return tuple(part for name, part in keys.items() if name in needed)


def _match(model: models.OperationMatch, node: Node, findings: Findings) -> core.Match:
    if model.path is not None and model.path_prefix is not None:
        findings.error(node.named, "conflicting-keys", "give either path or path_prefix, not both")
    written = node.child("header")
    if written is not None and isinstance(written.value, dict) and len(written.value) > len(model.header):
        findings.error(written.named, "duplicate-key", "a header stands twice, spelled with other capitals")
    for name in OWN_EACH_CALL.intersection(model.header):
        findings.error(node.at("header").where, "bad-header-name", f"{name} is another for each call: match by others")
    path = None
    if model.path_prefix is not None or model.path is not None:
        path = core.PathPattern(model.path_prefix, None if model.path_prefix else model.path)
    return core.Match(
        host=model.host if isinstance(model, models.RouteMatch) else None,
        path=path,
        methods=frozenset(model.method),
        headers=tuple((name, None if value == "*" else value) for name, value in model.header.items()),
    )


def _always_begins_with(path: core.PathPattern | None, prefix: str) -> bool:
    """Whether every path that fits begins with `prefix` at a segment border."""
    if path is None:
        return prefix == "/"
    if path.prefix is not None:
        return path.prefix.startswith(prefix)
    wanted = tuple(prefix.split("/")[1:-1])
    return (path.segments or ())[: len(wanted)] == wanted
