"""Which known word an unknown one was probably meant for: one that is spelled like it, or what others call by it."""

import difflib
from collections.abc import Collection, Iterable

MISSPELT, SIMILAR = 0.75, 0.6
"""From such a share of equal letters on."""
MOST_LISTED = 9
"""Known words that a hint lists; more of them help nobody."""

_ELSEWHERE: dict[str, tuple[str, ...]] = {
    "allow": ("fail_open", "failure_mode_allow", "ignore", "open"),
    "api_key_entry": ("consumer", "credential"),
    "attempts": ("max_attempts", "max_retries", "num_retries", "tries"),
    "authentication": ("auth", "consumers"),
    "base": ("base_interval", "initial_interval", "initialinterval"),
    "breakers": ("outlier_detection",),
    "burst": ("max_tokens", "tokens"),
    "client_ip": ("address", "ip", "remote_addr", "remote_address", "source_ip"),
    "concurrency": ("in_flight", "inflightreq", "limit_conn", "parallel"),
    "cost": ("hits_addend", "weight"),
    "deny": ("closed", "fail_closed", "failure_mode_deny"),
    "first_byte": ("read", "response"),
    "fixed_window": ("calendar",),
    "half_open_calls": ("half_open_requests", "max_half_open"),
    "header": ("request_header", "request_headers"),
    "host": ("pass_host_header", "passhostheader", "preserve_host"),
    "key": ("by", "descriptor", "descriptors", "limit_by", "source_criterion", "sourcecriterion"),
    "lease": ("ttl",),
    "limit": ("amount", "calls", "max", "quota", "requests", "requests_per_unit"),
    "limits": ("descriptors", "middlewares", "plugins"),
    "match": ("header", "headers", "rule", "when"),
    "max_sockets": ("keepalive", "max_connections"),
    "method": ("verb", "verbs"),
    "modules": ("cache", "caching", "sandbox"),
    "mode": ("dry_run", "shadow_mode"),
    "name": ("field", "header", "header_name"),
    "off": ("disable", "disabled", "none"),
    "on_status": ("retry_on",),
    "on_store_error": ("failure_mode_deny", "fault_tolerant", "redis_error"),
    "open_for": ("base_ejection_time", "fallback_duration", "sleep_window"),
    "path_prefix": ("location", "prefix", "uri"),
    "per": ("fill_interval", "interval", "period"),
    "rate": ("average", "tokens_per_fill"),
    "reject": ("block", "deny", "error", "refuse"),
    "rolling_window": ("log", "sliding", "sliding_log"),
    "routes": ("routers",),
    "shadow": ("dry_run", "log_only", "monitor", "observe", "report", "report_only"),
    "skip": ("ignore", "pass"),
    "upstream": ("backend", "cluster", "proxy_pass", "service", "target"),
    "upstreams": ("backends", "clusters", "services", "targets"),
    "url": ("address", "endpoint", "endpoints", "hosts", "nodes", "server", "servers", "targets"),
    "window": ("interval", "period", "unit"),
}
"""Our words, and what nginx, Kong, Traefik, Envoy and their like say there."""


def closest(word: str, known: Collection[str]) -> str:
    """The known word that was probably meant, or ""."""
    foreign = word.lower().replace("-", "_")
    ours = (ours for ours in known if foreign in _ELSEWHERE.get(ours, ()))
    return _alike(word, known, MISSPELT) or next(ours, "") or _alike(word, known, SIMILAR)


def _alike(word: str, known: Collection[str], least: float) -> str:
    return next(iter(difflib.get_close_matches(word.lower(), known, n=1, cutoff=least)), "")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint naming the word that was probably meant, or the known words if they are few, or ""."""
    names = sorted(known)
    meant = closest(word, names)
    if meant:
        return f"did you mean '{meant}'?"
    return f"known: {', '.join(names)}" if 0 < len(names) <= MOST_LISTED else ""
