"""Tokens for upstreams, caches, webhooks: each has its panel, hidden while nothing of it is in use."""

from collections.abc import Sequence
from typing import Any

from gateway.admin.page.markup import Html
from gateway.admin.page.tables import facts as named
from gateway.admin.page.tables import mark, panel, table
from gateway.admin.page.words import NOTHING, lasting, mebibytes, number, share

Document = dict[str, Any]


def tokens(found: Document) -> Html:
    """How many there are, and those that could not be renewed, with the reason."""
    count, failing = found["count"], found["failing"]
    pairs = (("have one", f"{found['with_token']:,} of {count:,}"), ("renewals", f"{found['renewals']:,}"))
    rows = [(one["credentials"], _token(one), one["reason"] or NOTHING, _again(one["again_s"])) for one in failing]
    heads = ("credentials", "state", "why", "tried again")
    text = table("Not renewed", heads, rows) if rows else None
    return panel("tokens", "Tokens for upstreams", named(pairs), text, hidden=not count)


def _token(one: Document) -> Html:
    if one["serving"]:
        return mark("warn", f"old one, {lasting(one['serves_s'] or 0)} left")
    return mark("bad", "none")


def _again(seconds: float | None) -> str:
    return f"in {lasting(seconds)}" if seconds else "with the next call"


def caches(found: Sequence[Document]) -> Html:
    """How often calls were answered from what is kept, and how much the workers keep."""
    rows = [
        (
            one["route"],
            NOTHING if one["hit_ratio"] is None else share(one["hit_ratio"]),
            *(number(one[name]) for name in ("hits", "misses")),
            number(one["answers"].get("bypass", 0)),
            number(one["workers"]["entries"]),
            mebibytes(one["workers"]["bytes"]),
        )
        for one in found
    ]
    heads = ("route", "from it", "hits", "misses", "passed by", "kept", "size")
    text = table("Since the workers began; in their memory", heads, rows, numbers=range(1, 7))
    return panel("caches", "Caches", text, hidden=not found)


def webhooks(found: Sequence[Document]) -> Html:
    """What waits for whom, and what was given up."""
    rows = [
        (
            one["receiver"],
            one["direction"],
            _queue(one),
            *(number(one[name]) for name in ("waiting", "trying", "retrying", "dead")),
            lasting(one["oldest_s"]) if one["oldest_s"] else NOTHING,
        )
        for one in found
    ]
    heads = ("receiver", "way", "state", "waiting", "trying", "to be tried again", "dead letters", "the oldest waits")
    text = table("Some seconds ago", heads, rows, numbers=range(3, 8))
    return panel("webhooks", "Webhooks", text, wide=True, hidden=not found)


def _queue(one: Document) -> Html:
    if one["resting_s"]:
        rest, failures = lasting(one["resting_s"]), one["failures_in_a_row"]
        return mark("bad", f"left alone for {rest}: {failures:,} failures in a row")
    if one["dead"]:
        return mark("warn", "dead letters")
    return mark("good", "delivers") if not one["failures_in_a_row"] else mark("warn", "last try failed")
