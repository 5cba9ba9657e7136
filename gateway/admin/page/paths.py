"""Pages of single counters, breakers and connections: their paths.

A counter is named by its partition as the store has it, as in `/callers/tenant-10m/=acme`: a part is a value that
stands for itself, `~` for the caller without one, or the hash of another value, which nobody can turn back: whoever
knows the value says it behind the path, as in `/callers/tenant-10m/%23003d...?is=a%2Fb`, and it is believed if it fits.
"""

import re
from collections.abc import Mapping, Sequence
from urllib.parse import quote, unquote, urlencode

from aiohttp import web

from gateway.admin.operations.counters import Target
from gateway.admin.operations.keys import Parts
from gateway.admin.problems import AdminProblem
from gateway.core.keys import ANONYMOUS, encode_part
from gateway.core.limits import VARIANT, Charge, Limit
from gateway.core.policy import PolicySet

_PART = re.compile(r"=[A-Za-z0-9._~@+-]{1,64}|#[0-9a-f]{32}|~").fullmatch
SAFE = "=~"


def path_of(kind: str, partition: str) -> str:
    """The path of a partition's page. `kind` is `callers` (of a limit; of its shadow too) or `breakers`."""
    name, _, others = partition.removeprefix("breaker:").partition(":{")
    if kind == "callers":
        name = name.removesuffix(VARIANT)
    first, _, rest = others.partition("}")
    words = [name, *(word for word in (first, *rest.split(":")) if word and word != "*")]
    return f"/{kind}/" + "/".join(quote(word, safe=SAFE) for word in words)


def naming(kind: str, partition: str, parts: Parts) -> str:
    """`path_of`, with those values that the partition only has the hash of."""
    hashed = [value for value in parts.values() if value is not None and encode_part(value).startswith("#")]
    return path_of(kind, partition) + known_as(hashed)


def known_as(values: Sequence[str], **others: str) -> str:
    """The query of a page, with what `said` finds there."""
    pairs = [*others.items(), *(("is", value) for value in values)]
    return f"?{urlencode(pairs, errors='surrogateescape')}" if pairs else ""


def said(request: web.Request) -> list[str]:
    """Values that somebody who followed a link is said to have."""
    return request.query.getall("is", [])


def typed(text: str, count: int) -> list[str]:
    """Raw path segments for a key of so many parts, as people type it: separated by `/`, and one inside a value as
    `%2F`; a single part is the whole text."""
    text = text.strip()
    words = [text] if count == 1 else text.split("/")
    return [word if word == ANONYMOUS else _segment(unquote(word)) for word in words if word]


def _segment(value: str) -> str:
    return quote(value, safe="", errors="surrogateescape").replace("~", "%7E")


def connection_path(connection: object, tenant: object) -> str:
    """The path of a connection's page."""
    owner = f"?tenant={quote(str(tenant or ''), safe='', errors='surrogateescape')}"
    return f"/connections/{quote(str(connection), safe='', errors='surrogateescape')}{owner}"


def partition_of(name: str, key: Sequence[str], words: Sequence[str]) -> str:
    """Of raw path segments behind the name. Raises AdminProblem when they are not what `path_of` makes."""
    parts = [unquote(word) for word in words if word]
    if len(parts) != len(key) or not all(map(_PART, parts)):
        raise AdminProblem(404, "NOT_FOUND", f"{name} counts by {', '.join(key) or 'nothing'}.")
    first, *others = parts or ["*"]
    return ":".join((f"{name}:{{{first}}}", *others))


def values_of(key: Sequence[str], words: Sequence[str], known: Mapping[str, Sequence[str]]) -> Parts:
    """The values behind the segments; of a hash only if one of the `known` values of that part has it."""
    return {
        name: _value(unquote(word), known.get(name, ())) for name, word in zip(key, filter(None, words), strict=True)
    }


def _value(part: str, known: Sequence[str]) -> str | None:
    if part == ANONYMOUS:
        return None
    if part.startswith("="):
        return part[1:]
    return next((value for value in known if encode_part(value) == part), part)


def counter(policies: PolicySet, words: Sequence[str], said: Sequence[str]) -> Target:
    """The counter that raw path segments behind `/callers/` name, with its shadow variant's. Raises AdminProblem.

    said  what hashes may stand for
    """
    name = unquote(words[0])
    limit = policies.limits.get(name)
    if limit is None:
        raise AdminProblem(404, "NO_SUCH_LIMIT", f"There is no limit {name!r} any more.")
    partition = partition_of(name, limit.key, words[1:])
    parts = values_of(limit.key, words[1:], _values_in_overrides(limit, said))
    mine = limit.for_caller(parts)
    charges = [Charge(mine, partition, 1)]
    if mine.shadow is not None:
        charges.append(Charge(mine.shadow, partition_of(mine.shadow.name, limit.key, words[1:]), 1))
    return Target(parts, tuple(charges))


def _values_in_overrides(limit: Limit, said: Sequence[str]) -> Mapping[str, list[str]]:
    known: dict[str, list[str]] = {name: [*said] for name in limit.key}
    for override in limit.overrides:
        for name, value in override.match:
            known.setdefault(name, []).append(value)
    return known
