"""What will really be run: the merged, compiled set and the settings, each value with the place it comes from."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, fields, replace
from typing import Any

from gateway.core.access.authentication import ApiKeys, Jwt, Scheme
from gateway.core.cache.rules import Cache
from gateway.core.document import Pointer
from gateway.core.guards import Breaker
from gateway.core.limits import USUAL_STATUS, Algorithm, Limit
from gateway.core.policy import Match, Operation, PolicySet, Route
from gateway.core.retry import Retry
from gateway.core.routing.mismatch import path_text
from gateway.core.upstream import Learning, Upstream
from gateway.policy.credentials_shown import credential_text, credential_values
from gateway.policy.models.scalars import UNITS_US
from gateway.settings import Settings, leaves

_NOT_SHOWN = ("entries", "pepper", "keys", "secret")


def settings_values(settings: Settings, shown_store_url: str) -> dict[str, dict[str, Any]]:
    """{dotted key: {value, origin}}. Sizes are bytes. `shown_store_url` stands in for the URL itself."""
    values = {name.removesuffix("_us"): _value(name, value) for name, value in leaves(settings)}
    values["store.url"] = shown_store_url
    for name in ("admin_token", "admin_read_token"):
        values[name] = "***" if values[name] else None
    return {name: {"value": values[name], "origin": origin} for name, origin in settings.sources}


def settings_lines(settings: Settings, shown_store_url: str) -> list[str]:
    """The same for people."""
    rows = settings_values(settings, shown_store_url).items()
    return [f"{name:<28} {_setting(name, row['value']):<28} {row['origin']}" for name, row in rows]


def _value(name: str, value: Any) -> Any:
    """A setting for JSON. Of things that have names, the names: what else they have may be secret."""
    if value is None and (name == "admin" or name.endswith("_us")):
        return "off"
    if name.endswith("_us"):
        return duration(value)
    if isinstance(value, tuple):
        return [getattr(one, "name", one) for one in value]
    return value if isinstance(value, int | str | None) else str(value)


def _setting(name: str, value: Any) -> str:
    if value is None:
        return "auto" if name == "logging.pretty" else "none"
    if isinstance(value, bool):
        return str(value).lower()
    return f"[{', '.join(value)}]" if isinstance(value, list) else str(value)


def policy_values(policies: PolicySet) -> dict[str, Any]:
    """The compiled set as plain values; times are microseconds. Routes stand in order of precedence."""
    return {
        "version": policies.version,
        "files": list(policies.files),
        "authentication": {name: _scheme_values(scheme) for name, scheme in policies.authentication.items()},
        "keys": {name: asdict(part) for name, part in policies.keys.items()},
        "limits": {name: _limit_values(limit) for name, limit in policies.limits.items()},
        "retries": {name: asdict(retry, dict_factory=_plain) for name, retry in policies.retries.items()},
        "breakers": {name: asdict(breaker) for name, breaker in policies.breakers.items()},
        "error_classes": {str(status): one.name for status, one in sorted(policies.classes.statuses.items())}
        | {error: one.name for error, one in policies.classes.errors.items()},
        "upstreams": {name: _upstream_values(upstream) for name, upstream in policies.upstreams.items()},
        "credentials": {name: credential_values(one) for name, one in policies.credentials.items()},
        "routes": [_route_values(route) for route in policies.routes],
    }


def _scheme_values(scheme: Scheme) -> dict[str, Any]:
    """Without hashes, keys and secrets."""
    shown = {field.name: getattr(scheme, field.name) for field in fields(scheme) if field.name not in _NOT_SHOWN}
    return {**shown, "claims": sorted(scheme.claims)} if isinstance(scheme, Jwt) else shown


def _upstream_values(upstream: Upstream) -> dict[str, Any]:
    """Its credentials by name."""
    bare = asdict(replace(upstream, credentials=()), dict_factory=_plain)
    return {**bare, "credentials": [one.name for one in upstream.credentials]}


def _limit_values(limit: Limit) -> dict[str, Any]:
    values = {field.name: getattr(limit, field.name) for field in fields(limit) if not field.name.startswith("_")}
    overrides = [{"match": dict(one.match), "limit": _limit_values(one.limit)} for one in limit.overrides]
    shadow = _limit_values(limit.shadow) if limit.shadow else None
    calendar = {"unit": limit.calendar.unit, "timezone": str(limit.calendar.zone)} if limit.calendar else None
    return {**values, "overrides": overrides, "shadow": shadow, "calendar": calendar}


def _plain(values: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Sets as lists, in order: what JSON has a word for."""
    return {name: sorted(value) if isinstance(value, frozenset) else value for name, value in values}


def _route_values(route: Route) -> dict[str, Any]:
    """Upstream, limits and key parts by name: they are listed in full beside the routes."""
    return {
        "name": route.name,
        "match": match_text(route.match),
        "upstream": route.upstream.name,
        "strip_prefix": route.strip_prefix,
        "authenticate": [scheme.name for scheme in route.authenticate],
        "require": dict(route.require),
        "limits": [limit.name for limit in route.limits],
        "breaker": route.breaker.name if route.breaker else None,
        "retry": route.retry.name if route.retry else None,
        "cache": cache_values(route.cache) if route.cache else None,
        "sandbox": route.sandbox.fixtures.source if route.sandbox else None,
        "keys": [part.name for part in route.keys],
        "cost": _cost_values(route),
        "operations": [
            {"name": one.name, "entity": one.entity, "match": match_text(one.match), "cost": _cost_values(one)}
            for one in route.operations
        ],
        "source": route.source,
    }


def cache_values(cache: Cache) -> dict[str, Any]:
    """What may be kept and for whom, in the words of the language."""
    return {
        "match": {"method": sorted(cache.methods), "path": ["/" + "/".join(path) for path in cache.paths]},
        "vary_by": list(cache.vary_by),
        "vary_headers": [name.decode() for name in cache.vary_headers],
        "ttl": duration(cache.ttl_us),
        "override": cache.override,
        "per_credential": cache.per_credential,
        "impersonal_headers": [name.decode() for name in cache.impersonal_headers],
        "stale_while_revalidate": duration(cache.stale_while_revalidate_us),
        "stale_if_error": duration(cache.stale_if_error_us),
        "wait": duration(cache.wait_us),
        "max_entry": cache.entry_bytes,
        "max_size": cache.size_bytes,
        "store": "shared" if cache.shared else "local",
    }


def _cost_values(priced: Route | Operation) -> dict[str, Any]:
    """Units by limit; where the real number is found later, how."""
    found: dict[str, Any] = dict(priced.cost)
    for name, one in priced.measures.items():
        how = one.name or " + ".join(" or ".join(map(_pointer_text, places)) for places in one.sums)
        found[name] = {"from": one.source.value, "at": how, "reserve": priced.cost[name], "max": one.most or None}
    return found


def _pointer_text(pointer: Pointer) -> str:
    return "".join(f"/{token.replace('~', '~0').replace('/', '~1')}" for token in pointer)


def policy_lines(policies: PolicySet) -> Iterator[str]:
    """The same for people."""
    yield from _section("authentication", policies.authentication, _scheme_text)
    yield "keys:"
    for part in policies.keys.values():
        where = f"{part.source} {part.source_name}".strip()
        yield f"  {part.name:<24} {where}, when missing: {part.on_missing}"
    yield "limits:"
    for limit in policies.limits.values():
        yield from _limit_lines(limit)
    yield from _section("breakers", policies.breakers, _breaker_text)
    yield from _section("retries", policies.retries, _retry_text)
    yield from _section("upstreams", policies.upstreams, lambda one: f"{place(one)}{_patience(one)}")
    yield from _section("credentials", policies.credentials, credential_text)
    yield "routes, first match wins:"
    for route in policies.routes:
        what = f"{match_text(route.match)} -> {route.upstream.name} ({_rules(route)})"
        yield f"  {route.name:<24} {what}  # {route.source}"


def _section(title: str, entries: Mapping[str, Any], text: Callable[[Any], str]) -> Iterator[str]:
    """A line an entry, if there are any."""
    if entries:
        yield f"{title}:"
        yield from (f"  {name:<24} {text(one)}  # {one.source}" for name, one in entries.items())


def _rules(route: Route) -> str:
    """What calls of a route are judged by, by name."""
    names = [", ".join(limit.name for limit in route.limits) or "no limits"]
    if route.breaker:
        names.append(f"breaker {route.breaker.name}")
    if route.retry:
        names.append(f"retry {route.retry.name}")
    if route.cache:
        whose = f"each {' and '.join(route.cache.vary_by)}" if route.cache.vary_by else "everybody together"
        names.append(f"answers kept {duration(route.cache.ttl_us)} for {whose}")
    if route.sandbox:
        names.append(f"sandbox {route.sandbox.fixtures.source}")
    if route.authenticate:
        names.append("callers known by " + " or ".join(scheme.name for scheme in route.authenticate))
    return "; ".join(names)


def _breaker_text(breaker: Breaker) -> str:
    """Its thresholds, and how long it is open."""
    reasons = {
        f"{breaker.consecutive_failures} failures in a row": breaker.consecutive_failures,
        f"{breaker.failure_ppm / 10_000:g}% failures in {duration(breaker.window_us)}": breaker.failure_ppm,
        f"{breaker.slow_ppm / 10_000:g}% slower than {duration(breaker.slow_us)}": breaker.slow_ppm,
    }
    by = ", ".join(breaker.key) or "everybody together"
    why = " or ".join(reason for reason, used in reasons.items() if used)
    return f"by {by}, opens at {why}, for {duration(breaker.open_us)}"


def _retry_text(retry: Retry) -> str:
    backoff = retry.backoff
    waits = ", ".join(map(duration, backoff.schedule_us))
    waits = waits or f"up to {duration(backoff.base_us)}, doubled each time, at most {duration(backoff.max_us)}"
    share = f"at most {retry.share.percent}% of calls" if retry.share else "however many"
    return f"{retry.attempts} attempts, waits {waits}; retries {share}"


def _scheme_text(scheme: Scheme) -> str:
    if isinstance(scheme, ApiKeys):
        return f"{sum(map(len, scheme.entries.values()))} API keys in {scheme.header}"
    return f"{'/'.join(scheme.algorithms)} tokens of {scheme.issuer} in {scheme.header}"


def _limit_lines(limit: Limit) -> Iterator[str]:
    by = ", ".join(limit.key) or "everybody together"
    how = f"{limit.mode}, {limit.charge}, store down: {limit.on_store_error}"
    yield f"  {limit.name:<24} {limit.algorithm} {amount(limit)} by {by} ({how})  # {limit.source}"
    if limit.status != USUAL_STATUS or limit.detail:
        yield f"    {'refusal':<22} {limit.status} {limit.detail}".rstrip()
    for override in limit.overrides:
        who = ", ".join(f"{name}={value}" for name, value in override.match)
        yield f"    {who:<22} {amount(override.limit)} ({override.limit.mode})  # {override.limit.source}"
    if limit.shadow is not None:
        yield f"    {'shadow':<22} {limit.shadow.algorithm} {amount(limit.shadow)}  # {limit.shadow.source}"


def amount(limit: Limit) -> str:
    """The numbers of a limit in the words of the language."""
    if limit.algorithm is Algorithm.TOKEN_BUCKET:
        rate, per_us = limit.said
        return f"{rate} per {duration(per_us)}, burst {limit.quota}"
    if limit.algorithm is Algorithm.CONCURRENCY:
        return f"{limit.quota} at once, lease {duration(limit.window_us)}"
    if limit.calendar is not None:
        return f"{limit.quota} per {limit.calendar.unit} ({limit.calendar.zone})"
    steps = f" in steps of {duration(limit.quantum_us)}" if limit.quantum_us > 1 else ""
    return f"{limit.quota} per {duration(limit.window_us)}{steps}"


def duration(time_us: int) -> str:
    """Microseconds in the largest unit that leaves nothing over: `10m`."""
    for unit, size in reversed(UNITS_US.items()):
        if time_us and time_us % size == 0:
            return f"{time_us // size}{unit}"
    return f"{time_us}us" if time_us else "0s"


def place(upstream: Upstream) -> str:
    """The URL of an upstream as policies write it."""
    if upstream.builtin_echo:
        return "builtin:echo"
    if upstream.unix_path:
        return f"unix://{upstream.unix_path}"
    return f"{upstream.scheme}://{upstream.authority}{upstream.base_path}"


def _patience(upstream: Upstream) -> str:
    """What is learned from it, and how fast it is asked."""
    words = [", ".join(_pauses(upstream.learning))] if upstream.learning else []
    if upstream.goes_on_us:
        words.append(f"goes on for {duration(upstream.goes_on_us)} with calls that were given up")
    if upstream.pace:
        words.append(f"paced at {upstream.pace.rate} per {duration(upstream.pace.per_us)}")
    return "".join(f"; {one}" for one in words)


def _pauses(learning: Learning) -> Iterator[str]:
    yield f"pauses by {', '.join(learning.key) or 'everybody'}, at most {duration(learning.max_us)}"
    if learning.also_on:
        yield f"also on {' '.join(map(str, sorted(learning.also_on)))} that ask for it"
    if learning.also_when:
        yield f"also when JSON says so at {' '.join(_pointer_text(one.pointer) for one in learning.also_when)}"
    if learning.also_from:
        yield f"also from {' '.join(one.remaining or one.used for one in learning.also_from)}"
    if learning.otherwise_us:
        yield f"{duration(learning.otherwise_us)} where a 429 says no time"


def match_text(match: Match) -> str:
    """Conditions in one line: `GET,POST api.example/erp/ X-Beta: on`."""
    headers = [f"{name}: {'*' if value is None else value}" for name, value in match.headers]
    where = (match.host or "") + (path_text(match.path) if match.path else "")
    return " ".join(word for word in (",".join(sorted(match.methods)), where, *headers) if word) or "every call"
