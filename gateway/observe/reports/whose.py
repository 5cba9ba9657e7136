"""Whose breaker or pause it is that an event is about: the same fields as in events about one call."""

from gateway.core.guards import Guard
from gateway.core.keys import readable, readable_parts

_FIELDS = ("tenant", "account", "connection")


def whose(guard: Guard) -> dict[str, str]:
    """`caller`, and each of the fields that are in a line about a call, as far as the guard counts by them and their
    values are known."""
    found = {"caller": readable(guard.key)}
    readable_ones = readable_parts(guard.key, guard.rule.key)
    for name in _FIELDS:
        value = readable_ones.get(name) or (guard.parts.get(name) if name in guard.rule.key else None)
        if value is not None:
            found[name] = value
    return found
