"""Whose breaker or pause it is that an event is about: the same fields as in events about one call."""

from gateway.core.guards import Guard
from gateway.core.keys import readable, readable_parts

_FIELDS = ("tenant", "account", "connection")


def whose(guard: Guard) -> dict[str, str]:
    """`caller`, and each of the fields that are in a line about a call, as far as the guard counts by them."""
    parts = readable_parts(guard.key, guard.rule.key)
    return {"caller": readable(guard.key), **{name: parts[name] for name in _FIELDS if name in parts}}
