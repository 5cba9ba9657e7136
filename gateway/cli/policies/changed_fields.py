"""A changed field of a policy set for people: in the words of policy files, and of what is large only what changed."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from gateway.core.classes import KINDS, statuses_in_words

MOST_SHOWN = 200
_WORDS = {
    "breakers": {
        "shared": "scope",
        "failure_ppm": "failure_rate",
        "slow_ppm": "slow_call.rate",
        "slow_us": "slow_call.duration",
        "open_us": "open_for",
        "max_open_us": "max_open_for",
        "growth_milli": "open_backoff",
    },
    "keys": {"source": "from", "source_name": "name"},
    "limits": {"status": "refusal.status", "detail": "refusal.detail"},
    "retries": {
        "statuses": "on_status",
        "errors": "on_error",
        "others": "non_idempotent",
        "share": "budget",
        "told": "on_exhausted.log",
        "max_body_bytes": "max_body",
    },
    "routes": {
        "cache.methods": "cache.match.method",
        "cache.paths": "cache.match.path",
        "cache.entry_bytes": "cache.max_entry",
        "cache.size_bytes": "cache.max_size",
        "cache.shared": "cache.store",
    },
    "upstreams": {
        "scheme": "url.scheme",
        "host": "url.host",
        "port": "url.port",
        "authority": "url.authority",
        "base_path": "url.path",
        "rewrite_host": "host",
        "credentials_optional": "credentials",
        "learning": "learn_limits",
        "learning.honor": "learn_limits.from",
        "learning.key": "learn_limits.scope",
    },
}
"""What the language calls them, by section, where that is another word."""
_SAID = {
    "shared": {True: "shared", False: "local"},
    "rewrite_host": {True: "rewrite", False: "pass"},
    "credentials_optional": {True: "optional", False: "required"},
}
_UNITS = ("_us", "_ppm", "_milli")


def told(section: str, name: str, before: Any, after: Any) -> Iterator[str]:
    """The field, or each member of it that changed, with what it was and is; values that are secret without them."""
    if before is None and after is None:
        yield f"{name} (not shown)"
    else:
        yield from _told(_WORDS.get(section, {}), (name, ""), before, after)


def _told(words: Mapping[str, str], path: tuple[str, str], before: Any, after: Any) -> Iterator[str]:
    """`path`: as it is here, and what the language calls that in which it lies."""
    name, around = path
    last = name.rpartition(".")[2]
    word = words.get(name) or f"{around}{_without_unit(last)}"
    if isinstance(before, dict) and isinstance(after, dict):
        for member in dict.fromkeys((*before, *after)):
            if before.get(member) != after.get(member):
                yield from _told(words, (f"{name}.{member}", f"{word}."), before.get(member), after.get(member))
    else:
        yield f"{word}: {_value(last, before)} -> {_value(last, after)}"


def _without_unit(name: str) -> str:
    for unit in _UNITS:
        name = name.removesuffix(unit)
    return name


def _value(name: str, value: Any) -> str:
    if value is None or value == "":
        return "none"
    value = _SAID[name][value] if name in _SAID else _IN_WORDS.get(name, partial(_readable, name))(value)
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."


def _readable(name: str, value: Any) -> Any:
    """Durations and shares as policies write them, however deep they stand."""
    from gateway.policy.effective import duration

    if isinstance(value, dict):
        return {_without_unit(key): _readable(key, one) for key, one in value.items()}
    if isinstance(value, list):
        return [_readable(name, one) for one in value]
    if not isinstance(value, int):
        return value
    if name.endswith("_ppm"):
        return f"{value / 10_000:g}%" if value else "none"
    if name.endswith("_milli"):
        return f"{value / 1000:g}"
    return duration(value) if name.endswith("_us") else value


def _statuses(statuses: Sequence[str]) -> list[int | str]:
    return statuses_in_words([int(status) for status in statuses])


def _errors(errors: Sequence[str]) -> list[str]:
    """By kind where all of a kind are there, and not all of a larger one."""
    whole = [kind for kind, members in KINDS.items() if members <= {*errors}]
    kinds = [kind for kind in whole if not any(KINDS[kind] < KINDS[other] for other in whole)]
    return [*kinds, *(error for error in errors if not any(error in KINDS[kind] for kind in kinds))]


_IN_WORDS: Mapping[str, Callable[[Any], Any]] = {"statuses": _statuses, "errors": _errors}
"""What retries list one by one, as policies write it."""
