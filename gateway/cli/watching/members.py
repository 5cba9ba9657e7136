"""Members of the status document for people: the same words on a page and in lines."""

from typing import Any

from gateway.cli.showing.text import plain, whose

Document = dict[str, Any]
UPSTREAM_TITLES = ("upstream", "calls", "failed", "why", "median ms", "p99 ms")


def upstream_rows(found: Document) -> list[list[Any]]:
    """How those did that were asked, the one that failed most first."""
    return [
        [one["upstream"], one["calls"], one["failed"], why_text(one), *_waits(one["latency"])]
        for one in found.get("upstreams", [])
    ]


def why_text(upstream: Document) -> str:
    """What its failures were, the commonest first, and how often it refused credentials: `connect 30, 401 or 403 4`."""
    why = [f"{why.replace('_', ' ')} {count:,}" for why, count in upstream["why"].items()]
    denied = upstream.get("denied", 0)
    return ", ".join([*why, *([f"401 or 403 {denied:,}"] if denied else [])]) or "-"


def _waits(latency: Document) -> tuple[str, str]:
    return (ms(latency["p50_ms"]), ms(latency["p99_ms"])) if latency["count"] else ("-", "-")


def failure_text(connection: Document) -> str:
    """Why a connection is as it is."""
    last = connection.get("last_failure")
    if last is None:
        return "its breaker is open" if connection["state"] == "offline" else "-"
    return f"{last['class']} {last['status'] or ''}".replace("_", " ").strip()


def store_text(store: Document) -> tuple[str, bool]:
    """What is said of it, and whether it is well."""
    if store["up"] and "error" not in store:
        return f"{store['kind']}, {store['round_trip_ms']} ms", True
    reason = ", ".join(dict.fromkeys(str(store[name]) for name in ("reason", "detail", "error") if store.get(name)))
    return plain(f"{store['kind']} down for {store.get('down_s', 0):.0f} s ({reason})"), False


def caller_rows(callers: list[Document]) -> list[list[Any]]:
    """Of those that are refused, or call, most."""
    return [[one["limit"], whose(one["key"]), one["count"], one["per_s"]] for one in callers]


def ms(value: float) -> str:
    """Milliseconds with two digits; from 100 on, whole ones."""
    return f"{value:.2g}" if value < 100 else f"{value:,.0f}"


def breaker_text(breaker: Document) -> tuple[str, str]:
    """In which state a breaker is, and why: what opened it (`forced`: an operator), and when a probe is let through."""
    why = breaker.get("reason", "").replace("_", " ")
    next_s = breaker.get("next_probe_s")
    return breaker.get("state", "").replace("_", " "), why + (f", next probe in {next_s:.0f} s" if next_s else "")
