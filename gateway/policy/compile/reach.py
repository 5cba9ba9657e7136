"""Operations that no call reaches: the first that matches counts, and none is of calls that go to other routes."""

from collections.abc import Sequence

from gateway.core.policy import Match, Operation, Route
from gateway.policy.compile.precedence import REST, path_segments
from gateway.policy.findings import Findings, quoted
from gateway.policy.nodes import Node

MOST_COMPARED = 300
"""So many are compared with each other: it takes time by their square."""
_Segments = tuple[str, ...]


def check_reach(route: Route, node: Node, findings: Findings) -> None:
    """Warn of each such operation. `node` is the route's."""
    rest, methods = _left_for_operations(route), route.match.methods
    for at, operation in enumerate(route.operations):
        where, name = node.at("operations", at).where, quoted(operation.name)
        first = _before(operation.match, route.operations[: min(at, MOST_COMPARED)])
        if first is not None:
            message = f"operation {name} never applies: {quoted(first.name)} before it matches all of its calls"
            findings.warn(where, "never-applies", message, "put what is more specific first")
        elif not _meet(rest, path_segments(operation.match.path)):
            hint = f"paths are relative to what strip_prefix {quoted(route.strip_prefix)} leaves"
            message = f"operation {name} never applies: no call of this route has such a path"
            findings.warn(where, "never-applies", message, hint if route.strip_prefix else "")
        elif methods and operation.match.methods and methods.isdisjoint(operation.match.methods):
            message = f"operation {name} never applies: no call of this route has such a method"
            findings.warn(where, "never-applies", message)


def _before(match: Match, earlier: Sequence[Operation]) -> Operation | None:
    return next((one for one in earlier if _covers(one.match, match)), None)


def _left_for_operations(route: Route) -> _Segments:
    stripped = route.strip_prefix.count("/")
    return path_segments(route.match.path)[stripped:] or ("",)


def _covers(one: Match, other: Match) -> bool:
    """Whether every call that fits `other` fits `one`."""
    if one.methods and not (other.methods and other.methods <= one.methods):
        return False
    values = dict(other.headers)
    if any(name not in values or wanted not in (None, values[name]) for name, wanted in one.headers):
        return False
    return _path_covers(path_segments(one.path), path_segments(other.path))


def _path_covers(one: _Segments, other: _Segments) -> bool:
    fixed, its_fixed = _fixed(one), _fixed(other)
    if len(its_fixed) < len(fixed) or (len(one) == len(fixed) and len(other) != len(fixed)):
        return False
    return all(want == has or (_any(want) and has != "") for want, has in zip(fixed, its_fixed, strict=False))


def _meet(one: _Segments, other: _Segments) -> bool:
    """Whether some path fits both."""
    fixed, its_fixed = _fixed(one), _fixed(other)
    if (len(one) == len(fixed) < len(its_fixed)) or (len(other) == len(its_fixed) < len(fixed)):
        return False
    return all(
        here == there or (_any(here) and there != "") or (_any(there) and here != "")
        for here, there in zip(fixed, its_fixed, strict=False)
    )


def _fixed(segments: _Segments) -> _Segments:
    return segments[:-1] if segments[-1:] == (REST,) else segments


def _any(segment: str) -> bool:
    return segment == "*" or segment.startswith("{")
